import { basename } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { type GgufBlocks, type GgufMetadata, type GgufType, isGgufName } from "../../../files/gguf/format.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { type Dtype, isFloat, type OutputDtype } from "../../../files/safetensors/dtype.ts";
import { KEYS, MODELS } from "../../../data/text/gguf/kinds.ts";
import { tokenizerMetadata } from "../../../data/text/gguf/tokenizer-metadata.ts";
import { isKernelDtype } from "../../../compute/device/dtype.ts";
import { fitsBlocks } from "../../../compute/device/blocks.ts";
import { loadConfigs } from "../../../models/decoder/architectures/index.ts";
import type { DecoderConfig } from "../../../models/decoder/config.ts";
import { decoderMetadata, FILE_TYPES, generalMetadata, ggufName } from "../../../models/gguf/metadata.ts";
import { storedDecoder, UNTIED_HEAD } from "../../../models/decoder/weight-plan.ts";
import { ggufPlace } from "../../../models/gguf/names.ts";
import { plannedMatrix } from "../../../models/tensor-plan.ts";
import { checkForGguf } from "../../../models/gguf/refusals.ts";
import type { Outtype } from "../to-files/options.ts";

const TYPES = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0", q4_0: "Q4_0" } as const;

/** llama.cpp reads no newer rounding of blocks than this. */
const QUANTIZATION_VERSION = 2;

/** Of a Gemma 4 whose tokenizer puts nothing before a text. */
const BARE =
  "llama.cpp puts bos before each text of Gemma 4, and this tokenizer does not: texts other than chats differ";

export interface GgufWish {
  readonly outtype: Outtype;
  readonly pre?: string | undefined;
  /** `general.name`. */
  readonly name: string;
}

/** A model folder as a GGUF file will say it: all but its tensors. */
export class GgufModel {
  readonly config: DecoderConfig;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
  readonly #outtype: Outtype;
  readonly #metadata: GgufMetadata;

  readonly #others: readonly string[];

  /** @param others notes that do not follow from its config */
  private constructor(config: DecoderConfig, outtype: Outtype, metadata: GgufMetadata, others: readonly string[]) {
    this.config = config;
    this.notes = [...checkForGguf(config), ...others];
    this.#others = others;
    this.#outtype = outtype;
    this.#metadata = metadata;
  }

  /** @throws RandloraError for a model or a tokenizer that GGUF or llama.cpp does not have */
  static async read({ folder, tensors }: Checkpoint, { outtype, pre, name }: GgufWish): Promise<GgufModel> {
    const { config: described, json } = await loadConfigs(folder);
    const config = storedDecoder(described, tensors);
    // Before the tokenizer: a model that GGUF has not is refused as such.
    const decoder = decoderMetadata(config, json);
    const { bos_token_id: bos, pad_token_id: pad } = json;
    const ids = { bos: [bos ?? []].flat()[0], eos: config.endTokens[0], pad: pad ?? undefined };
    const merged = ggufName(config.architecture) === "gemma4";
    const tokenizer = await tokenizerMetadata(folder, { size: config.vocabularySize, pre, merged, ids });
    const metadata = new Map([
      ...generalMetadata(config.architecture, "model", spokenName(name, config, tokenizer)),
      ...decoder,
      ["general.quantization_version", { kind: "u32", value: QUANTIZATION_VERSION }] as const,
      ...tokenizer,
    ]);
    // What makes keys and values of Gemma 4's layers that take another one's is none's loss.
    const begins = [...config.otherParts].filter(
      (begin) => !begin.includes(".self_attn.") && [...tensors.keys()].some((tensor) => tensor.startsWith(begin)),
    );
    const left = `the file has the text's weights alone: tensors that begin with ${begins.join(", ")} are left out`;
    const isBare = tokenizer.get(KEYS.model)?.value === MODELS.merged && tokenizer.get(KEYS.addBos)?.value === false;
    const others = [...(begins.length > 0 ? [left] : []), ...(isBare ? [BARE] : [])];
    return new GgufModel(config, outtype, metadata, others);
  }

  /** The same, where a merge gave the model an output matrix of its own. @throws RandloraError `model` */
  untied(): GgufModel {
    const { embedding } = this.config;
    const [{ stored = [] } = {}] = embedding.parts;
    const head = plannedMatrix(embedding.cols, [UNTIED_HEAD, stored]);
    return new GgufModel({ ...this.config, head }, this.#outtype, this.#metadata, this.#others);
  }

  /** Are matrices rounded to blocks? */
  get isInBlocks(): boolean {
    return this.#outtype === "q8_0" || this.#outtype === "q4_0";
  }

  /** The dtype that a tensor is computed in: blocks are rounded from F32. @throws RandloraError `model` for integers */
  dtypeOf(name: string, stored: Dtype, shape: readonly number[]): "F32" | "F16" | "BF16" {
    if (!isFloat(stored)) throw new RandloraError("model", `tensor ${quote(name)} is ${stored}, not written as GGUF`);
    if (shape.length === 1 || ggufPlace(name, this.config)?.exact === true) return "F32";
    if (this.#outtype === "keep") return isKernelDtype(stored) ? stored : "F32";
    return this.#outtype === "f16" ? "F16" : this.#outtype === "bf16" ? "BF16" : "F32";
  }

  /**
   * What a tensor is stored as: where its rows are no whole blocks, F16, as llama.cpp has it.
   * @param blocks what the base has it in, if that is a GGUF file
   */
  typeOf(dtype: "F32" | "F16" | "BF16", shape: readonly number[], blocks?: GgufBlocks): GgufType {
    if (shape.length === 1) return "F32";
    if (this.#outtype === "keep") return blocks ?? dtype;
    if (!this.isInBlocks) return dtype;
    return fitsBlocks(shape.at(-1) ?? 0) ? TYPES[this.#outtype] : "F16";
  }

  /** Everything that stands before the tensors. @param kept what matrices are stored as where that was left to them */
  metadata(kept: GgufType): GgufMetadata {
    const type = this.#outtype === "keep" ? kept : TYPES[this.#outtype];
    return new Map([...this.#metadata, ["general.file_type", { kind: "u32", value: FILE_TYPES[type] }] as const]);
  }
}

/** Tokens that llama.cpp looks up in a model that is called Phi 3: the others take the white space behind them along. */
const PHI3_TOKENS = ["</s>", "<unk>", "<s>", "<|endoftext|>"];

/** llama.cpp knows Phi 3's tokenizer by the model's name alone, and fails on one without its tokens. */
function spokenName(name: string, { architecture }: DecoderConfig, tokenizer: GgufMetadata): string {
  const tokens = tokenizer.get("tokenizer.ggml.tokens");
  const list: readonly unknown[] = tokens?.kind === "array" && tokens.of === "string" ? tokens.value : [];
  const isPhi3 = architecture === "phi3" && PHI3_TOKENS.every((token) => list.includes(token));
  if (!isPhi3) return name.replace(/phi-?3/gi, "phi 3");
  return /phi-?3/i.test(name) ? name : `${name} Phi-3`;
}

/** What a merge is told that a GGUF file depends on. */
interface Asked {
  readonly outtype?: Outtype | undefined;
  readonly dtype: OutputDtype;
  readonly pre?: string | undefined;
}

/**
 * What a GGUF file will say of the base; undefined for another output.
 * @throws RandloraError `usage` for flags that do not go with the output; as {@link GgufModel.read}
 */
export async function ggufModel(
  { outtype, dtype, pre }: Asked,
  out: string,
  checkpoint: Checkpoint,
): Promise<GgufModel | undefined> {
  if (!isGgufName(out)) {
    if ((outtype ?? pre) === undefined) return undefined;
    const hint = "name a file: --out model.gguf; --dtype is for folders";
    throw new RandloraError("usage", `--outtype and --pre are of GGUF files, and ${oneLine(out)} is none`, hint);
  }
  if (outtype !== undefined && dtype !== "keep") {
    throw new RandloraError("usage", "--outtype and --dtype say the same of a GGUF file", "give --outtype alone");
  }
  const name = basename(out).replace(/\.gguf$/i, "");
  return await GgufModel.read(checkpoint, { outtype: outtype ?? dtype, pre, name });
}
