import type { GgufMetadata, GgufValue } from "../../files/gguf/format.ts";
import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { architectureOf, ARCHITECTURES } from "../decoder/architectures/index.ts";
import type { ConfigJson } from "../decoder/config-file.ts";
import { attentionsOf, type DecoderConfig } from "../decoder/config.ts";

/** llama.cpp's name of an architecture, by `model_type`: Mistral is a Llama there. @throws RandloraError `model` where it has none */
export function ggufName(type: string): string {
  const name = architectureOf(type)?.gguf?.name;
  if (name !== undefined) return name;
  const cause = `models of type ${quote(type)} cannot be written as GGUF`;
  throw new RandloraError("model", cause, `supported: ${ggufTypes().join(", ")}`);
}

/** The `model_type`s that can be written. */
function ggufTypes(): string[] {
  return ARCHITECTURES.flatMap(({ type, gguf }) => (gguf === undefined ? [] : [type]));
}

/** `general.file_type`: what most tensors are stored as (llama.h, llama_ftype). */
export const FILE_TYPES = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, Q6_K: 18, BF16: 32 } as const;

const string = (value: string): GgufValue => ({ kind: "string", value });

/** A number of the metadata, after the architecture's name and a dot. */
export interface Field {
  readonly key: string;
  readonly kind: "u32" | "f32";
  /** The setting of config.json that it becomes when it is read; undefined: it is checked, or follows from others. */
  readonly setting?: keyof ConfigJson;
  /** What is written; undefined: nothing. */
  readonly of: (config: DecoderConfig, json: ConfigJson, arch: string) => number | undefined;
}

/** What llama.cpp is told of a decoder, as its convert_hf_to_gguf.py does it: both directions go by this list. */
export const FIELDS: readonly Field[] = [
  { key: "block_count", kind: "u32", setting: "num_hidden_layers", of: ({ layers }) => layers.length },
  {
    key: "context_length",
    kind: "u32",
    setting: "max_position_embeddings",
    // A dynamic rope stretches ours; llama.cpp has none.
    of: ({ contextLength }, json) => json.max_position_embeddings ?? contextLength,
  },
  { key: "embedding_length", kind: "u32", setting: "hidden_size", of: ({ hiddenSize }) => hiddenSize },
  { key: "feed_forward_length", kind: "u32", setting: "intermediate_size", of: innerSize },
  {
    key: "attention.head_count",
    kind: "u32",
    setting: "num_attention_heads",
    of: (config) => attentionsOf(config)[0].heads,
  },
  {
    key: "attention.head_count_kv",
    kind: "u32",
    setting: "num_key_value_heads",
    of: (config) => attentionsOf(config)[0].kvHeads,
  },
  { key: "attention.layer_norm_rms_epsilon", kind: "f32", setting: "rms_norm_eps", of: ({ norm }) => norm.epsilon },
  { key: "attention.key_length", kind: "u32", setting: "head_dim", of: saidHeadSize },
  { key: "attention.value_length", kind: "u32", of: saidHeadSize },
  { key: "vocab_size", kind: "u32", of: (config) => (isOfLlama(config) ? config.vocabularySize : undefined) },
  {
    key: "rope.dimension_count",
    kind: "u32",
    of: (config) => (isOfLlama(config) || config.architecture === "phi3" ? config.ropes[0]?.size : undefined),
  },
  {
    key: "rope.freq_base",
    kind: "f32",
    setting: "rope_theta",
    of: ({ ropes: [full] }, _, arch) => (arch === "gemma2" ? undefined : full?.theta),
  },
  {
    key: "rope.freq_base_swa",
    kind: "f32",
    setting: "rope_local_base_freq",
    of: ({ ropes: [, sliding] }) => (sliding?.scaling.kind === "none" ? undefined : sliding?.theta),
  },
  {
    key: "attn_logit_softcapping",
    kind: "f32",
    setting: "attn_logit_softcapping",
    of: (config) => attentionsOf(config)[0].softcap,
  },
  {
    key: "final_logit_softcapping",
    kind: "f32",
    setting: "final_logit_softcapping",
    of: ({ logitSoftcap }) => logitSoftcap,
  },
  ...multipliers({
    "attention.scale": ["attention_multiplier", (config) => attentionsOf(config)[0].scale],
    embedding_scale: ["embedding_multiplier", ({ embeddingScale }) => embeddingScale],
    residual_scale: ["residual_multiplier", ({ layers }) => layers[0]?.[0]?.factor],
    logit_scale: ["logits_scaling", (_, { logits_scaling: scaling }) => scaling ?? 1],
  }),
  { key: "attention.sliding_window", kind: "u32", setting: "sliding_window", of: slidingWindow },
];

/** The keys of a rope's scaling, after the architecture's name and a dot. */
export const ROPE_KEYS = {
  type: "rope.scaling.type",
  factor: "rope.scaling.factor",
  trainedLength: "rope.scaling.original_context_length",
  attentionFactor: "rope.scaling.attn_factor",
  betaFast: "rope.scaling.yarn_beta_fast",
  betaSlow: "rope.scaling.yarn_beta_slow",
} as const;

/** What a GGUF file says of any model or adapter. */
export function generalMetadata(architecture: string, type: "model" | "adapter", name: string): [string, GgufValue][] {
  return [
    ["general.architecture", string(ggufName(architecture))],
    ["general.type", string(type)],
    ["general.name", string(name)],
  ];
}

/** The metadata of a decoder. */
export function decoderMetadata(config: DecoderConfig, json: ConfigJson): GgufMetadata {
  const arch = ggufName(config.architecture);
  const fields = FIELDS.flatMap(({ key, kind, of }): [string, GgufValue][] => {
    const value = of(config, json, arch);
    return value === undefined ? [] : [[key, { kind, value }]];
  });
  return new Map([...fields, ...ropeScaling(config, json)].map(([key, value]) => [`${arch}.${key}`, value]));
}

/** Granite's. */
function multipliers(
  fields: Readonly<
    Record<string, readonly [keyof ConfigJson, (config: DecoderConfig, json: ConfigJson) => number | undefined]>
  >,
): Field[] {
  return Object.entries(fields).map(([key, [setting, of]]): Field => {
    return {
      key,
      kind: "f32",
      setting,
      of: (config, json, arch) => (arch === "granite" ? of(config, json) : undefined),
    };
  });
}

/** Left out where llama.cpp's own rule, hidden size by heads, is all that its converter relies on. */
function saidHeadSize(config: DecoderConfig, json: ConfigJson): number | undefined {
  const { architecture } = config;
  if (architecture === "phi3" || architecture === "granite") return undefined;
  const [{ headSize }] = attentionsOf(config);
  return architecture !== "qwen2" || (json.head_dim ?? undefined) !== undefined ? headSize : undefined;
}

/** Its converter says more of Llama and what turns as Llama does. */
function isOfLlama({ architecture }: DecoderConfig): boolean {
  return architectureOf(architecture)?.gguf?.pairs === true;
}

/** Rows of an MLP's gate. */
function innerSize({ layers }: DecoderConfig): number | undefined {
  const [inner] = layers.flat().flatMap(({ mixer }) => (mixer.kind === "mlp" ? [mixer.output.weight.cols] : []));
  return inner;
}

function slidingWindow(config: DecoderConfig, _: ConfigJson, arch: string): number | undefined {
  const window = attentionsOf(config)
    .map((layer) => layer.window)
    .find(Number.isFinite);
  // Phi 4 is told from Phi 3 by its 0.
  if (arch === "phi3") return window ?? 0;
  return arch.startsWith("gemma") ? window : undefined;
}

function ropeScaling({ architecture, ropes }: DecoderConfig, json: ConfigJson): [string, GgufValue][] {
  const u32 = (key: keyof typeof ROPE_KEYS, value: number): [string, GgufValue] => [
    ROPE_KEYS[key],
    { kind: "u32", value },
  ];
  const f32 = (key: keyof typeof ROPE_KEYS, value: number): [string, GgufValue] => [
    ROPE_KEYS[key],
    { kind: "f32", value },
  ];
  const scaling = ropes[0]?.scaling ?? { kind: "default" };
  if (architecture === "phi3") {
    const trained = scaling.kind === "longrope" ? scaling.trainedLength : json.original_max_position_embeddings;
    const length = u32("trainedLength", trained ?? 4096);
    return scaling.kind === "longrope" ? [length, f32("attentionFactor", scaling.attentionFactor)] : [length];
  }
  if (scaling.kind !== "linear" && scaling.kind !== "yarn") return [];
  const both: [string, GgufValue][] = [[ROPE_KEYS.type, string(scaling.kind)], f32("factor", scaling.factor)];
  if (scaling.kind === "linear") return both;
  return [
    ...both,
    u32("trainedLength", scaling.trainedLength),
    f32("betaFast", scaling.betaFast),
    f32("betaSlow", scaling.betaSlow),
  ];
}
