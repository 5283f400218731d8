import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { Activation } from "../../../compute/tensor/elementwise.ts";
import type { ConfigJson } from "../config-file.ts";
import type { DecoderConfig, LayerConfig } from "../config.ts";
import { ropeOf, type RopeDefaults } from "../rope-json.ts";
import type { Rope } from "../../blocks/rope-scaling.ts";

/** An architecture: which config.json it is for, and what that file means. */
export interface Architecture {
  /** `model_type` of config.json. */
  readonly type: string;
  /** @throws RandloraError `model` for a setting that is not supported */
  describe(json: ConfigJson): DecoderConfig;
}

/** What an architecture says where config.json does not. */
export interface Defaults {
  readonly contextLength: number;
  readonly epsilon: number;
  readonly headSize?: number;
  /** By default as many as heads. */
  readonly kvHeads?: number;
  readonly tied?: boolean;
  readonly activation?: string;
  readonly rope?: Pick<RopeDefaults, "partial" | "trainedLength">;
}

const ACTIVATION_NAMES: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  quick_gelu: "quick-gelu",
};

/** The plain llama decoder of these sizes: other architectures say what they do otherwise. */
export function plainDecoder(json: ConfigJson, defaults: Defaults): DecoderConfig {
  const heads = json.num_attention_heads;
  const headSize = json.head_dim ?? defaults.headSize ?? Math.floor(json.hidden_size / heads);
  const contextLength = json.max_position_embeddings ?? defaults.contextLength;
  const { eos_token_id: end } = json;
  return {
    architecture: json.model_type,
    vocabularySize: json.vocab_size,
    hiddenSize: json.hidden_size,
    intermediateSize: json.intermediate_size,
    heads,
    kvHeads: withDefault(json.num_key_value_heads, defaults.kvHeads) ?? heads,
    headSize,
    layers: sameLayers(json, Infinity),
    ropes: [],
    contextLength,
    epsilon: json.rms_norm_eps ?? defaults.epsilon,
    normOffset: 0,
    activation: activationNamed(json.hidden_act ?? defaults.activation ?? "silu"),
    embeddingScale: 1,
    attentionScale: 1 / Math.sqrt(headSize),
    attentionSoftcap: undefined,
    logitSoftcap: undefined,
    tied: json.tie_word_embeddings ?? defaults.tied ?? false,
    queryKeyNorm: false,
    postNorms: false,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    fused: false,
    endTokens: end === null || end === undefined ? [] : [end].flat(),
  };
}

/** The same with its one rope. */
export function ropedDecoder(json: ConfigJson, defaults: Defaults): DecoderConfig {
  const config = plainDecoder(json, defaults);
  const { headSize, contextLength } = config;
  return withRopes(config, [ropeOf(json, { headSize, contextLength, ...defaults.rope })]);
}

/** The same with its ropes. `max_position_embeddings` is what a dynamic one was trained on; the context is that times its factor. */
export function withRopes(config: DecoderConfig, ropes: readonly Rope[]): DecoderConfig {
  const stretched = ropes.map(({ scaling }) =>
    scaling.kind === "dynamic" ? Math.floor(scaling.factor * scaling.trainedLength) : 0,
  );
  return { ...config, ropes, contextLength: Math.max(config.contextLength, ...stretched) };
}

/** All layers alike, with rope 0. */
export function sameLayers(json: ConfigJson, window: number): LayerConfig[] {
  return Array.from({ length: json.num_hidden_layers }, () => ({ window, rope: 0 }));
}

/**
 * Layers that attend to everything before them, or within a window: by `layer_types`, else by `isSliding`.
 * @param slidingRope the rope of sliding layers
 */
export function mixedLayers(
  json: ConfigJson,
  window: number | null | undefined,
  isSliding: (layer: number) => boolean,
  slidingRope = 0,
): LayerConfig[] {
  return Array.from({ length: json.num_hidden_layers }, (_, layer) => {
    const type = json.layer_types?.[layer];
    if (type !== undefined && type !== "sliding_attention" && type !== "full_attention") {
      throw new RandloraError("model", `layers of type ${quote(type)} are not supported`);
    }
    const sliding = type === undefined ? isSliding(layer) : type === "sliding_attention";
    return sliding ? { window: window ?? Infinity, rope: slidingRope } : { window: Infinity, rope: 0 };
  });
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
