import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import type { WholeTensor } from "../../files/safetensors/header.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";

/** The model that an adapter is applied to, as far as names, shapes and config.json tell. */
export interface BaseModel {
  /** For messages. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, BaseTensor>;
  /** config.json; undefined for a lone file without one. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** Tensors that the file has of a decoder and its model does not read: no modules. */
  readonly unread?: ReadonlySet<string> | undefined;
  /** The model that an adapter is trained in, where it is more than the checkpoint: one that gets a head. */
  readonly within?: Within | undefined;
}

export interface BaseTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The file has it as rows of another one. */
  readonly whole?: WholeTensor;
}

/** What a model adds to a checkpoint. */
export interface Within {
  /** What its modules' paths begin with, before the checkpoint's. */
  readonly prefix: string;
  /** Modules that are trained whole, and hence not adapted. */
  readonly saved: readonly string[];
  /** How paths of the checkpoint begin that the model has, and of those that may be adapted; undefined: all. */
  readonly parts?: readonly string[] | undefined;
  readonly adapted?: readonly string[] | undefined;
}

/** Model types whose blocks are built from Conv1D, and the names that those have. */
const CONV1D_MODELS: ReadonlySet<unknown> = new Set(["gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp"]);
const CONV1D_NAMES: ReadonlySet<string> = new Set(["c_attn", "q_attn", "c_proj", "c_fc"]);

/** A checkpoint's description as a base; `config` is its config.json. */
export function describeBase(checkpoint: Checkpoint, config: BaseModel["config"], path = checkpoint.folder): BaseModel {
  return { path, tensors: new Map([...checkpoint.tensors].map(([name, { info }]) => [name, info])), config };
}

/** config.json's `model_type`, where there is one. */
export function modelTypeOf({ config }: BaseModel): string | undefined {
  const found = config?.["model_type"];
  return typeof found === "string" ? found : undefined;
}

/** Is this module the router of a mixture of experts: a bare matrix in transformers, no linear layer? */
export function isRouter(module: string): boolean {
  return /(?:^|\.)(?:mlp\.(?:gate|router)|feed_forward\.gate|block_sparse_moe\.(?:gate|router(?:\.layer)?))$/.test(
    module,
  );
}

/** Is this module one expert's of a mixture: a part of one tensor of all experts in transformers, no linear layer? */
export function isOfExpert(module: string): boolean {
  return /(?:^|\.)experts\.\d+\./.test(module);
}

/** Are matrices `name` of the experts below `path` stored (in, out)? Those with biases are (gpt-oss), and where gates and ups are in one. */
export function areExpertsTransposed(path: string, name: string, { tensors }: BaseModel): boolean {
  return tensors.has(`${path}.${name}_bias`) || tensors.has(`${path}.0.gate_up_proj.weight`);
}

/**
 * Does this module store its weight (in, out), as Conv1D and the experts of some models do? Known from biases of experts, and from the
 * model's type; without a config.json from the biases; where they say nothing, from the adapter's `fan_in_fan_out`. PEFT corrects that layer by layer and saves what
 * the last one was, which after an adapted output embedding is wrong for all others.
 */
export function isConv1d(module: string, base: BaseModel, fanInFanOut: boolean): boolean {
  const [, path, name] = /^(.+\.experts)\.\d+\.(\w+)$/.exec(module) ?? [];
  if (path !== undefined && name !== undefined && areExpertsTransposed(path, name, base)) return true;
  const has = CONV1D_NAMES.has(lastSegment(module));
  if (CONV1D_MODELS.has(base.config?.["model_type"])) return has;
  const told = base.config === undefined && has ? biasesTell(base) : undefined;
  return told ?? (fanInFanOut && !isOutputEmbedding(module));
}

/** Whether the layers that bear Conv1D's names are stored (in, out): a bias has as many elements as there are outputs. */
function biasesTell({ tensors }: BaseModel): boolean | undefined {
  for (const [name, { shape }] of tensors) {
    const [first, second] = shape;
    const module = name.slice(0, -".weight".length);
    if (!name.endsWith(".weight") || first === second || !CONV1D_NAMES.has(lastSegment(module))) continue;
    const outputs = tensors.get(`${module}.bias`)?.shape[0];
    if (outputs !== undefined) return outputs === second;
  }
  return undefined;
}

/** The dotted paths of the checkpoint's linear layers: two-dimensional `….weight` tensors that are no embeddings. */
export function linearModules(base: BaseModel): string[] {
  const modules: string[] = [];
  for (const [name, { shape }] of base.tensors) {
    if (!name.endsWith(".weight") || shape.length !== 2 || base.unread?.has(name) === true) continue;
    const module = name.slice(0, -".weight".length);
    if (!isEmbedding(module)) modules.push(module);
  }
  return modules;
}

// Embeddings in the models of transformers: a checkpoint says nothing of them but their names.

/** Names of input embeddings, by their last segment: never linear layers. */
const EMBEDDINGS: ReadonlySet<string> = new Set([
  "embed_tokens",
  "embed_tokens_per_layer",
  "token_embedding",
  "position_embedding",
  "wte",
  "wpe",
  "word_embeddings",
  "position_embeddings",
  "token_type_embeddings",
  "embed_positions",
  "embed_in",
  "shared",
  "embeddings",
  "relative_attention_bias",
]);

/** Those of tokens: what an output embedding is tied to. */
const INPUT_EMBEDDING = /(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|shared)\.weight$/;

/** Names under which output embeddings are known (`get_output_embeddings` in transformers). */
const OUTPUT_EMBEDDINGS: ReadonlySet<string> = new Set(["lm_head", "embed_out", "output_projection"]);

/** Classes, by config.json's `architectures`, and their output embedding: the first that fits holds. */
const HEADS: readonly (readonly [architecture: RegExp, module: string])[] = [
  [/^GPTNeoXForCausalLM$/, "embed_out"],
  [/^(?:Roberta|XLMRoberta|XLMRobertaXL|Camembert)For(?:CausalLM|MaskedLM)$/, "lm_head.decoder"],
  [/^Bert(?:LMHeadModel|ForMaskedLM|ForPreTraining)$/, "cls.predictions.decoder"],
  [/(?:ForCausalLM|LMHeadModel)$/, "lm_head"],
  [/^(?:Gemma3|Gemma4|Mistral3|Qwen3_5(?:Moe)?|Qwen(?:2|2_5_|3)VL)ForConditionalGeneration$/, "lm_head"],
];

/** The last segment of a dotted path. */
export function lastSegment(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

/** Is this module an embedding, by its name? */
export function isEmbedding(module: string): boolean {
  return EMBEDDINGS.has(lastSegment(module));
}

/** Is this tensor the embedding of a model's tokens, by its name? */
export function isInputEmbedding(tensor: string): boolean {
  return INPUT_EMBEDDING.test(tensor);
}

/** Is this module the output embedding of a language model, by its name? */
export function isOutputEmbedding(module: string): boolean {
  // BERT's and RoBERTa's heads are small networks; the embedding is their last layer.
  return OUTPUT_EMBEDDINGS.has(lastSegment(module)) || /(?:^|\.)(?:cls\.predictions|lm_head)\.decoder$/.test(module);
}

/**
 * The output embedding of the class that a config.json names: where it is tied the checkpoint does not hold it.
 * `undefined` for a class without one, and for classes that are not known.
 */
export function outputEmbeddingOf(config: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const architectures = config?.["architectures"];
  const name: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  return typeof name === "string" ? HEADS.find(([architecture]) => architecture.test(name))?.[1] : undefined;
}
