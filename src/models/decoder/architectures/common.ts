import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { Activation } from "../../../compute/tensor/elementwise.ts";
import { MOST_CHOSEN } from "../../../compute/tensor/ops/router-weights.ts";
import type { Experts, Routing } from "../../blocks/experts.ts";
import type { Mlp } from "../../blocks/mlp.ts";
import { type PlannedMatrix, plannedTable, plannedVector } from "../../tensor-plan.ts";
import type { ConfigJson } from "../config-file.ts";
import type { DecoderConfig, PlannedLayer } from "../config.ts";
import { attention, type AttentionParts, gatedMlp, type GatedMlpParts, rmsNorm, type Sizes } from "../parts.ts";
import { UNTIED_HEAD } from "../weight-plan.ts";

/** An architecture: which config.json it is for, and the model that such a file means. */
export interface Architecture {
  /** `model_type` of config.json. */
  readonly type: string;
  /** The models that are of it, for people. */
  readonly title: string;
  /** The modules that are adapted where nobody says, and PEFT has no default: `q_proj` and `v_proj` where this is left out. */
  readonly targets?: readonly string[];
  /** What it is in llama.cpp; undefined: it has none of it. */
  readonly gguf?: GgufArchitecture;
  /** The settings of config.json by transformers' usual names, where such a file has them by others, or in a part of it. */
  readonly settings?: (json: Readonly<Record<string, unknown>>) => object;
  /** @throws RandloraError `model` for a setting that is not supported */
  describe(json: ConfigJson): DecoderConfig;
}

/** What llama.cpp calls an architecture, and what it does with its rows. */
export interface GgufArchitecture {
  /** `general.architecture`. */
  readonly name: string;
  /** The class that transformers has for it, which config.json names. */
  readonly transformers: string;
  /** Rows of q and k are in llama.cpp's own order: each turns with its neighbor, and not with one half a head away. */
  readonly pairs?: boolean;
  /** Gate and up are two matrices there, although a checkpoint has them in one. */
  readonly apart?: boolean;
  /** The norm before an MLP, where it is not called `ffn_norm`. */
  readonly mlpNorm?: string;
  /** The norm behind the last layer, where it is not called `output_norm`. */
  readonly lastNorm?: string;
}

/** What an architecture says where config.json does not. */
export interface Defaults {
  readonly contextLength: number;
  readonly epsilon: number;
  readonly headSize?: number;
  /** By default as many as heads. */
  readonly kvHeads?: number;
  readonly activation?: string;
}

/** The sizes of a model, and what its ropes depend on. */
export interface ModelSizes extends Sizes {
  /** `max_position_embeddings`. */
  readonly contextLength: number;
}

/** Experts of all layers at most, of which Qwen3-Next has 24,576: what a damaged file says would fill the memory with names. */
const MOST_EXPERTS = 2 ** 15;

/**
 * How a mixture of experts chooses, by transformers' usual names.
 * @throws RandloraError `model` for numbers that cannot be
 */
export function routingOf(json: ConfigJson, { amongChosen, ...defaults }: Routing): Routing {
  const count = json.num_experts ?? json.num_local_experts ?? defaults.count;
  const chosen = json.num_experts_per_tok ?? defaults.chosen;
  const layers = `${json.num_hidden_layers} layers of ${count} experts`;
  const refuse = (cause: string) => {
    throw new RandloraError("model", cause, "this model cannot be run");
  };
  if (count * json.num_hidden_layers > MOST_EXPERTS) refuse(`${layers}: at most ${MOST_EXPERTS} in all are supported`);
  if (chosen < 1 || chosen > count) refuse(`${layers}, of which a token goes to ${chosen}: cannot be`);
  if (chosen > MOST_CHOSEN) refuse(`${chosen} experts for a token: at most ${MOST_CHOSEN} are supported`);
  return { count, chosen, amongChosen };
}

/**
 * The same by layers, of models of which some have a plain MLP in its place (undefined), or all: transformers takes 0 experts so.
 * @throws RandloraError as {@link routingOf}
 */
export function routingsOf(json: ConfigJson, defaults: Routing): (index: number) => Routing | undefined {
  const routing = (json.num_experts ?? json.num_local_experts) === 0 ? undefined : routingOf(json, defaults);
  const period = json.decoder_sparse_step ?? 1;
  const plain = new Set(json.mlp_only_layers);
  return (index) => (plain.has(index) || (index + 1) % period !== 0 ? undefined : routing);
}

const ACTIVATION_NAMES: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_accurate: "gelu-tanh",
  gelu_python_tanh: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  quick_gelu: "quick-gelu",
};

/** The sizes that config.json says, by transformers' usual names. */
export function sizesOf(json: ConfigJson, defaults: Defaults): ModelSizes {
  const heads = json.num_attention_heads;
  return {
    hidden: json.hidden_size,
    inner: json.intermediate_size,
    heads,
    kvHeads: withDefault(json.num_key_value_heads, defaults.kvHeads) ?? heads,
    headSize: json.head_dim ?? defaults.headSize ?? Math.floor(json.hidden_size / heads),
    contextLength: json.max_position_embeddings ?? defaults.contextLength,
    epsilon: json.rms_norm_eps ?? defaults.epsilon,
    activation: activationNamed(json.hidden_act ?? defaults.activation ?? "silu"),
  };
}

/** What an architecture says of its model. */
export interface Model
  extends Pick<DecoderConfig, "ropes">, Partial<Pick<DecoderConfig, "norm" | "layerInputs" | "layerTable">> {
  /** See `DecoderConfig`. */
  readonly otherParts?: readonly string[];
  /** Layer number `index`, whose modules are below `path`. */
  readonly layer: (path: string, index: number) => PlannedLayer;
  /** The modules of the embedding and of the layers, where they are not transformers' usual ones. */
  readonly names?: { readonly embedding: string; readonly layers: string };
  readonly embeddingScale?: number;
  readonly logitScale?: number;
  readonly logitSoftcap?: number | undefined;
  /** Logits have a bias. */
  readonly headBias?: boolean;
  /** Whether the embedding is the output matrix, where config.json does not say. */
  readonly tied?: boolean;
}

/** A decoder of such layers between an embedding and an output matrix, a norm by the root of the mean square before that. */
export function decoder(json: ConfigJson, sizes: ModelSizes, model: Model): DecoderConfig {
  const { hidden, contextLength, epsilon } = sizes;
  const { ropes, embeddingScale = 1, logitScale = 1, logitSoftcap, layerInputs, layerTable, otherParts } = model;
  const { names = { embedding: "model.embed_tokens", layers: "model.layers" } } = model;
  const table = (name: string) => plannedTable(hidden, [name, [json.vocab_size, hidden]]);
  // `max_position_embeddings` is what a dynamic rope was trained on, and may be that of YaRN (Qwen's): the context is that times its factor.
  const stretched = ropes.map(({ scaling }) =>
    scaling.kind === "dynamic" || scaling.kind === "yarn" ? Math.floor(scaling.factor * scaling.trainedLength) : 0,
  );
  return {
    architecture: json.model_type,
    vocabularySize: json.vocab_size,
    hiddenSize: hidden,
    contextLength: Math.max(contextLength, ...stretched),
    endTokens: [json.eos_token_id ?? []].flat(),
    ropes,
    embedding: table(`${names.embedding}.weight`),
    embeddingScale,
    layerInputs,
    layerTable,
    layers: Array.from({ length: json.num_hidden_layers }, (_, index) =>
      model.layer(`${names.layers}.${index}`, index),
    ),
    norm: model.norm ?? rmsNorm("model.norm", hidden, epsilon),
    head: (json.tie_word_embeddings ?? model.tied ?? false) ? undefined : table(UNTIED_HEAD),
    headBias: model.headBias === true ? plannedVector(["lm_head.bias", [json.vocab_size]]) : undefined,
    logitScale,
    logitSoftcap,
    otherParts: new Set(otherParts),
  };
}

/** Llama's layer, which many have: attention and a gated MLP, each with a norm before it. @param factor of what is added */
export function llamaLayer(
  path: string,
  sizes: Sizes,
  attentionParts: AttentionParts = {},
  { path: mlp = "mlp", ...mlpParts }: GatedMlpParts & { readonly path?: string } = {},
  factor = 1,
): PlannedLayer {
  return usualLayer(path, sizes, attentionParts, gatedMlp(`${path}.${mlp}`, sizes, mlpParts), factor);
}

/** Attention, then an MLP or experts, each with a norm before it. @param factor of what is added */
export function usualLayer(
  path: string,
  sizes: Sizes,
  attentionParts: AttentionParts,
  feedForward: Mlp<PlannedMatrix> | Experts<PlannedMatrix>,
  factor = 1,
): PlannedLayer {
  const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
  return [
    { before: norm("input_layernorm"), mixer: attention(`${path}.self_attn`, sizes, attentionParts), factor },
    { before: norm("post_attention_layernorm"), mixer: feedForward, factor },
  ];
}

/** The norms of the heads of q and k, over `querySize` and `keySize` elements: a head's by default. */
export function queryKeyNorms(
  path: string,
  { epsilon, headSize }: Sizes,
  [querySize, keySize]: readonly [querySize: number, keySize: number] = [headSize, headSize],
): Required<Pick<AttentionParts, "queryNorm" | "keyNorm">> {
  const norm = (name: string, size: number) => rmsNorm(`${path}.self_attn.${name}`, size, epsilon);
  return { queryNorm: norm("q_norm", querySize), keyNorm: norm("k_norm", keySize) };
}

/**
 * Does layer number `index` see a window of tokens, and not all before its own? By `layer_types`, else as the architecture has it.
 * @throws RandloraError `model` for a type of layers that is neither
 */
export function isSliding(json: ConfigJson, index: number, otherwise: boolean): boolean {
  const type = json.layer_types?.[index];
  if (type !== undefined && type !== "sliding_attention" && type !== "full_attention") {
    throw new RandloraError("model", `layers of type ${quote(type)} are not supported`);
  }
  return type === undefined ? otherwise : type === "sliding_attention";
}

/** The same where all layers do but every `usual`th, or every `sliding_window_pattern`th. @throws as isSliding */
export function isSlidingButEvery(json: ConfigJson, index: number, usual: number): boolean {
  const period = json.layer_types ? usual : (json.sliding_window_pattern ?? usual);
  if (typeof period === "number" && period > 0) return isSliding(json, index, (index + 1) % period !== 0);
  const hint = "transformers writes layer_types for it: save the model again";
  const shown = typeof period === "number" ? period : quote(period);
  throw new RandloraError("model", `sliding_window_pattern ${shown} is not supported`, hint);
}

/** A setting that is left out takes the architecture's value; one that is null is off. */
export function withDefault<T>(value: T | null | undefined, otherwise: T): T | undefined {
  return value === undefined ? otherwise : (value ?? undefined);
}

/** @throws RandloraError `model` for another activation than SiLU and the GELUs */
export function activationNamed(name: string): Activation {
  const activation = ACTIVATION_NAMES[name];
  if (activation !== undefined) return activation;
  const hint = `supported: ${Object.keys(ACTIVATION_NAMES).join(", ")}`;
  throw new RandloraError("model", `activation ${quote(name)} is not supported`, hint);
}
