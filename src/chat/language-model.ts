import { RandloraError } from "../files/errors.ts";
import type { Device } from "../compute/device/device.ts";
import { type BlocksName, type KvName, NAMED_BLOCKS, NAMED_KV } from "../compute/device/dtype.ts";
import { type DeviceOptions, openDevice } from "../compute/open-device.ts";
import { checkIsOfTexts } from "../models/vision/index.ts";
import type { Decoder } from "../models/decoder/decoder.ts";
import { loadDecoder } from "../models/folder/load-decoder.ts";
import type { Quantized } from "../models/decoder/weights.ts";
import { NAMED_DTYPES, type OutputDtype } from "../files/safetensors/dtype.ts";
import type { ModelLocation } from "../models/folder/locate.ts";
import type { GeneratorName } from "../compute/random/names.ts";
import { type ChatTemplate, loadChatTemplate } from "../data/text/chat-template.ts";
import { readStopIds } from "../data/text/stop.ts";
import { loadTokenizer } from "../data/text/load-tokenizer.ts";
import type { Tokenizer } from "../data/text/tokenizer.ts";
import type { AdapterChoice } from "../adapters/merge/merged-checkpoint.ts";
import { AdaptedWeights, type ApplyOptions } from "../adapters/merge/in-memory/weights.ts";
import type { Writer } from "./generation/reply.ts";
import { checkUnmerged, placeUnmerged, type UnmergedAdapters } from "../adapters/merge/in-memory/beside.ts";
import { SharedParts } from "../adapters/method/training.ts";

export interface LanguageModelOptions {
  readonly location: ModelLocation;
  /** What is opened for it. */
  readonly device?: DeviceOptions | undefined;
  /** `--chat-template`: a file instead of the model's own template. */
  readonly templateFile?: string | undefined;
  /** `--raw`: no template will be used, and one that cannot be read does no harm. */
  readonly raw?: boolean | undefined;
  /** `--dtype`: what matrices are held in; adapters change them to what `merge --dtype` would write. */
  readonly dtype?: OutputDtype | undefined;
  /** `--quantize`: what the layers' weights are held in; adapters are then added in each pass instead of merged. */
  readonly quantize?: BlocksName | undefined;
  /** `--kv-type`: what keys and values are held in. */
  readonly kvType?: KvName | undefined;
  /** Told the bytes of weights as they are read. */
  readonly onProgress?: ((read: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal;
}

/** A model that can write: tokenizer, template and weights, with adapters that may be changed at any time. */
export class LanguageModel implements Writer, AsyncDisposable {
  readonly tokenizer: Tokenizer;
  /** How a conversation becomes a text; undefined for models that were not trained on chats. */
  readonly template: ChatTemplate | undefined;
  readonly stopTokens: ReadonlySet<number>;
  /** Where its tokenizer lies. */
  readonly folder: string;
  /** Its weights: a folder or a file. */
  readonly weightsPath: string;
  readonly #options: LanguageModelOptions;
  #held: Held;

  private constructor(held: Held, text: Text, options: LanguageModelOptions) {
    const { location } = options;
    this.#held = held;
    this.#options = options;
    this.tokenizer = text.tokenizer;
    this.template = text.template;
    this.stopTokens = text.stopTokens;
    this.folder = location.folder;
    this.weightsPath = location.weights ?? location.folder;
  }

  /**
   * Loads a model: device, tokenizer and weights at the same time.
   * @throws RandloraError naming the file and the reason; nothing stays allocated
   */
  static async load(options: LanguageModelOptions): Promise<LanguageModel> {
    const { location, templateFile, raw, signal } = options;
    const opening = openDevice(options.device);
    opening.catch(() => {}); // reported below, after the cheaper checks
    try {
      await checkIsOfTexts(location.folder);
      // A broken tokenizer is found before any weight is read.
      const text = await loadText(location.folder, templateFile, raw);
      signal?.throwIfAborted();
      return new LanguageModel(await load(await opening, options), text, options);
    } catch (thrown) {
      (await opening.catch(() => undefined))?.close();
      throw thrown;
    }
  }

  /**
   * Opens the device anew after it failed, and loads the weights again, without adapters. What was made with the old ones is void.
   * @throws RandloraError as `load`
   */
  async reopen(): Promise<void> {
    await this[Symbol.asyncDispose]();
    const gpu = await openDevice(this.#options.device);
    try {
      this.#held = await load(gpu, { ...this.#options, onProgress: undefined });
    } catch (thrown) {
      gpu.close();
      throw thrown;
    }
  }

  get gpu(): Device {
    return this.#held.gpu;
  }

  get decoder(): Decoder {
    return this.#held.decoder;
  }

  /** The adapters that are part of the weights now. */
  get adapters(): readonly AdapterChoice[] {
    return this.#held.adapters;
  }

  /** The quantized weights: no adapter can be merged into them. */
  get quantized(): Quantized | undefined {
    return this.decoder.weights.quantized;
  }

  /** What the user should know of the model: one line each. */
  get notes(): readonly string[] {
    const { vocabSize } = this.tokenizer;
    const rows = this.decoder.config.vocabularySize;
    if (vocabSize <= rows) return [];
    return [`the tokenizer has ${vocabSize} tokens, but the model only ${rows}: text that needs the others is refused`];
  }

  /**
   * Makes the weights the base's with exactly these adapters. What was computed with others must be forgotten. What
   * cannot be applied is refused before anything changes; what fails later puts the adapters from before back.
   * @returns notes for the user
   * @throws RandloraError as `AdaptedWeights.apply`; the signal's reason when it is aborted
   */
  async setAdapters(choices: readonly AdapterChoice[], options: ApplyOptions = {}): Promise<readonly string[]> {
    if (choices.length === 0 && this.#held.adapted === undefined) return [];
    const adapted = await this.#openAdapted();
    if (this.quantized === undefined) return await this.#apply(adapted, choices, options);
    const placed = await placeUnmerged(this.decoder, this.weightsPath, choices, options);
    try {
      // What they replace whole lies in no blocks.
      await this.#apply(adapted, choices, { ...options, beside: this.decoder.weights.projected });
    } catch (thrown) {
      placed[Symbol.dispose]();
      throw thrown;
    }
    this.#held.unmerged?.[Symbol.dispose]();
    this.#held.unmerged = placed;
    this.decoder.linears = placed.linears;
    return placed.notes;
  }

  /** Opens the weights' files, once however many ask at the same time. */
  async #openAdapted(): Promise<AdaptedWeights> {
    const held = this.#held;
    const opening = (held.adapted ??= AdaptedWeights.open(held.decoder, this.weightsPath));
    try {
      return await opening;
    } catch (thrown) {
      if (held.adapted === opening) held.adapted = undefined;
      throw thrown;
    }
  }

  async #apply(
    adapted: AdaptedWeights,
    choices: readonly AdapterChoice[],
    options: ApplyOptions,
  ): Promise<readonly string[]> {
    const held = this.#held;
    const { dtype = "keep" } = this.#options;
    try {
      const notes = await adapted.apply(choices, { ...options, dtype });
      held.adapters = choices;
      return notes;
    } catch (thrown) {
      if (!adapted.isMixture) throw thrown;
      const before = held.adapters;
      held.adapters = [];
      await adapted.apply(before, { ...options, dtype, signal: undefined, onProgress: undefined });
      held.adapters = before;
      throw thrown;
    }
  }

  /**
   * Finds out whether `setAdapters` would take these; nothing changes.
   * @returns notes for the user
   * @throws RandloraError `adapter`, `file`, `format` with the reason
   */
  async checkAdapters(choices: readonly AdapterChoice[], generator?: GeneratorName): Promise<readonly string[]> {
    const notes = await (await this.#openAdapted()).check(choices, generator);
    if (this.quantized === undefined) return notes;
    return await checkUnmerged(this.decoder, this.weightsPath, choices, { generator });
  }

  /**
   * Places adapters beside the weights, for rows of passes that go through them; the weights stay what they are. The caller gives them back.
   * @throws RandloraError as `checkBeside`; `memory`
   */
  async placeBeside(choices: readonly AdapterChoice[], options: ApplyOptions = {}): Promise<UnmergedAdapters> {
    const { generator, signal } = options;
    const forRows = { forRows: true, shared: this.#held.shared };
    return await placeUnmerged(this.decoder, this.weightsPath, choices, { generator, signal, ...forRows });
  }

  /** Finds out whether `placeBeside` would take these. @throws RandloraError `adapter` for what has no place there; `file`, `format` */
  async checkBeside(choices: readonly AdapterChoice[], generator?: GeneratorName): Promise<void> {
    await checkUnmerged(this.decoder, this.weightsPath, choices, { generator, forRows: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { adapted, unmerged, decoder, gpu } = this.#held;
    await (await adapted)?.[Symbol.asyncDispose]();
    unmerged?.[Symbol.dispose]();
    decoder.release();
    gpu.close();
  }
}

/** The device, and what is in its memory. */
interface Held {
  readonly gpu: Device;
  readonly decoder: Decoder;
  readonly shared: SharedParts;
  adapted?: Promise<AdaptedWeights> | undefined;
  unmerged?: UnmergedAdapters;
  adapters: readonly AdapterChoice[];
}

async function load(gpu: Device, options: LanguageModelOptions): Promise<Held> {
  const { location, dtype = "keep", quantize, kvType = "f32", onProgress, signal } = options;
  const decoder = await loadDecoder(gpu, location.folder, {
    weights: location.weights,
    dtype: dtype === "keep" ? undefined : NAMED_DTYPES[dtype],
    quantize: quantize && NAMED_BLOCKS[quantize],
    kvDtype: NAMED_KV[kvType],
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { gpu, decoder, shared: new SharedParts(gpu), adapters: [] };
}

interface Text {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | undefined;
  readonly stopTokens: ReadonlySet<number>;
}

async function loadText(folder: string, file: string | undefined, raw = false): Promise<Text> {
  const tokenizer = await loadTokenizer(folder);
  const template = await loadChatTemplate(folder, file).catch((error: unknown) => {
    if (raw && error instanceof RandloraError) return undefined;
    throw error;
  });
  return { tokenizer, template, stopTokens: await readStopIds(folder, tokenizer, template) };
}
