import type { Gpu } from "../gpu/gpu.ts";
import { type BaseModel, describeBase } from "../adapters/base.ts";
import { readConfig } from "../merge/model-config.ts";
import { findModelFiles, ownFiles } from "../merge/model-files.ts";
import { loadConfig } from "../models/architectures/index.ts";
import type { DecoderConfig } from "../models/config.ts";
import type { ModelLocation } from "../models/locate.ts";
import { DecoderWeights } from "../models/weights.ts";
import { Checkpoint } from "../safetensors/checkpoint.ts";
import { NAMED_DTYPES } from "../safetensors/dtype.ts";
import { fingerprint } from "../safetensors/fingerprint.ts";
import type { PlacedModel, TrainedModel } from "./engine.ts";
import { createFull } from "./full.ts";
import { createLora } from "./lora.ts";
import { existingLora, type LoraSource, newLora } from "./lora-source.ts";
import type { MethodChoices, PlaceOptions } from "./method.ts";
import { createRandlora, parseBasesFrom } from "./randlora.ts";
import { existingRandlora, newRandlora, type RandloraSource } from "./randlora-source.ts";
import type { TrainSettings } from "./settings.ts";
import { findTargets } from "./target-modules.ts";

export interface OpenOptions {
  /** What the method chose when the run began, for a resumed one. */
  readonly began?: MethodChoices | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What a model is trained from, beside the GPU: opened and checked once, placed on as many GPUs as one likes (a counting
 * one first). Close it after the last save: `full` copies files from it.
 */
export class ModelSource implements AsyncDisposable {
  readonly config: DecoderConfig;
  readonly settings: TrainSettings;
  readonly #checkpoint: Checkpoint;
  readonly #adapter: AdapterSource;
  readonly #notes: readonly string[];

  private constructor(
    settings: TrainSettings,
    config: DecoderConfig,
    checkpoint: Checkpoint,
    adapter: AdapterSource,
    notes: readonly string[],
  ) {
    this.settings = settings;
    this.config = config;
    this.#checkpoint = checkpoint;
    this.#adapter = adapter;
    this.#notes = notes;
  }

  /**
   * @throws RandloraError `file`, `format`, `model`; `usage` when the targets match nothing; the signal's reason when it
   *   is aborted
   */
  static async open(
    settings: TrainSettings,
    { folder, weights }: ModelLocation,
    { began, signal }: OpenOptions = {},
  ): Promise<ModelSource> {
    const config = await loadConfig(folder);
    const checkpoint = await Checkpoint.open(weights ?? folder);
    try {
      const json = await readConfig(folder);
      const base = describeBase(checkpoint, json?.value);
      // What is copied with every save is looked at before anything is trained.
      const notes = settings.adapter === null ? await notesOfCopy(checkpoint) : [];
      const adapter = await openAdapterSource(settings, base, { began, signal });
      return new ModelSource(settings, config, checkpoint, adapter, notes);
    } catch (thrown) {
      await checkpoint.close();
      throw thrown;
    }
  }

  /** Bytes of the checkpoint: what `fill` of the weights reads. */
  get bytes(): number {
    return this.#checkpoint.bytes;
  }

  /** Tells the base from another under the same name. @throws RandloraError `file` */
  async fingerprint(): Promise<string> {
    return await fingerprint(this.#checkpoint);
  }

  /**
   * Allocates weights and parameters; the weights' `fill` reads the former.
   * @throws RandloraError `model`, `memory`
   */
  async place(gpu: Gpu, place: PlaceOptions): Promise<PlacedModel> {
    const { adapter: settings, dtype, seed } = this.settings;
    const config = this.config;
    const adapter = this.#adapter;
    if (settings === null || adapter.kind === "full") {
      return placed({
        config,
        ...createFull({ gpu, config, checkpoint: this.#checkpoint, dtype, notes: this.#notes }),
      });
    }
    const held = dtype === "keep" ? undefined : NAMED_DTYPES[dtype];
    const weights = DecoderWeights.allocate(gpu, this.#checkpoint, config, { dtype: held });
    const { tensors } = weights;
    const method =
      adapter.kind === "lora"
        ? createLora({ gpu, settings, source: adapter.source, tensors, seed })
        : await createRandlora({ gpu, source: adapter.source, settings, tensors, seed, place });
    return placed({ config, weights, method });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#adapter.kind === "randlora") await this.#adapter.source[Symbol.asyncDispose]();
    await this.#checkpoint.close();
  }
}

function placed(model: TrainedModel): PlacedModel {
  const release = () => {
    model.method.release();
    model.weights.release();
  };
  return { ...model, [Symbol.dispose]: release };
}

type AdapterSource =
  | { readonly kind: "full" }
  | { readonly kind: "lora"; readonly source: LoraSource }
  | { readonly kind: "randlora"; readonly source: RandloraSource };

async function openAdapterSource(
  settings: TrainSettings,
  base: BaseModel,
  { began, signal }: OpenOptions,
): Promise<AdapterSource> {
  const { adapter, method } = settings;
  if (adapter === null || method === "full") return { kind: "full" };
  const { initAdapter } = adapter;
  if (initAdapter !== null) {
    return method === "lora"
      ? { kind: "lora", source: await existingLora(initAdapter, base, adapter) }
      : { kind: "randlora", source: await existingRandlora(initAdapter, base, adapter, parseBasesFrom(began), signal) };
  }
  const targets = findTargets(base, adapter);
  if (method === "lora") return { kind: "lora", source: newLora(adapter, targets, settings.model) };
  return { kind: "randlora", source: await newRandlora(settings, adapter, targets, signal) };
}

async function notesOfCopy(checkpoint: Checkpoint): Promise<readonly string[]> {
  const { from, own } = await ownFiles(checkpoint);
  return (await findModelFiles(from, new Set(own))).notes;
}
