import type { ConfigJson } from "../decoder/config-file.ts";
import { attentionsOf, type DecoderConfig, keysOf } from "../decoder/config.ts";
import { architectureOf } from "../decoder/architectures/index.ts";
import type { Experts } from "../blocks/experts.ts";
import type { GatedDelta } from "../blocks/gated-delta.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";

/** What is said of each layer, after the architecture's name and a dot. */
export const KV_HEADS = "attention.head_count_kv";
export const WINDOWS = "attention.sliding_window_pattern";
export const INNER = "feed_forward_length";

/** Elements of a head of Gemma 4's layers that see a window; `attention.key_length` is that of the others. */
export const SLIDING_HEAD = "attention.key_length_swa";

/** How much queries grow with their position, by the same. */
export const GROWTH = "attention.temperature_scale";

/** llama.cpp's number of weights by the logistic function (`llama_expert_gating_func_type`). */
const LOGISTIC = 2;

/** Architectures with the gated delta rule in most layers. */
export const HYBRIDS: readonly string[] = ["qwen3next", "qwen35"];

/** A number of the metadata, after the architecture's name and a dot. */
export interface Field {
  readonly key: string;
  readonly kind: "u32" | "f32";
  /** The architectures of llama.cpp that have it; undefined: all. */
  readonly only?: readonly string[];
  /** The setting of config.json that it becomes when it is read; undefined: it is checked, or follows from others. */
  readonly setting?: keyof ConfigJson;
  /** What is written; undefined: nothing. */
  readonly of: (config: DecoderConfig, json: ConfigJson, arch: string) => number | undefined;
}

/** What llama.cpp is told of a decoder, as its convert_hf_to_gguf.py does it: both directions go by this list. */
const FIELDS: readonly Field[] = [
  { key: "block_count", kind: "u32", setting: "num_hidden_layers", of: ({ layers }) => layers.length },
  {
    key: "context_length",
    kind: "u32",
    setting: "max_position_embeddings",
    // A dynamic rope stretches ours; llama.cpp has none.
    of: ({ contextLength }, json) => json.max_position_embeddings ?? contextLength,
  },
  { key: "embedding_length", kind: "u32", setting: "hidden_size", of: ({ hiddenSize }) => hiddenSize },
  { key: INNER, kind: "u32", setting: "intermediate_size", of: innerSize },
  { key: "expert_count", kind: "u32", setting: "num_local_experts", of: (config) => expertsOf(config)?.count },
  { key: "expert_used_count", kind: "u32", setting: "num_experts_per_tok", of: (config) => expertsOf(config)?.chosen },
  ...numbersOf(["qwen2moe", "qwen3moe", "qwen3next", "lfm2moe", "gpt-oss", "gemma4"], "u32", {
    expert_feed_forward_length: ["moe_intermediate_size", (config) => expertsOf(config)?.down.cols],
  }),
  ...numbersOf(["qwen2moe", "qwen3next"], "u32", {
    expert_shared_feed_forward_length: [
      "shared_expert_intermediate_size",
      (config) => expertsOf(config)?.shared?.mlp.output.weight.cols,
    ],
  }),
  ...numbersOf(["lfm2moe"], "u32", {
    leading_dense_block_count: [
      "num_dense_layers",
      ({ layers }) => layers.flat().filter(({ mixer }) => mixer.kind === "mlp").length,
    ],
    expert_gating_func: [undefined, () => LOGISTIC],
  }),
  ...numbersOf(HYBRIDS, "u32", {
    "ssm.conv_kernel": ["linear_conv_kernel_dim", ofRule(({ taps }) => taps)],
    "ssm.state_size": ["linear_key_head_dim", ofRule(({ keySize }) => keySize)],
    "ssm.group_count": ["linear_num_key_heads", ofRule(({ keyHeads }) => keyHeads)],
    "ssm.time_step_rank": ["linear_num_value_heads", ofRule(({ heads }) => heads)],
    "ssm.inner_size": [undefined, ofRule(({ heads, valueSize }) => heads * valueSize)],
    full_attention_interval: ["full_attention_interval", attentionPeriod],
  }),
  ...numbersOf(["lfm2", "lfm2moe"], "u32", { "shortconv.l_cache": ["conv_L_cache", tapsOf] }),
  {
    key: "attention.head_count",
    kind: "u32",
    setting: "num_attention_heads",
    of: (config) => attentionsOf(config)[0].heads,
  },
  {
    key: KV_HEADS,
    kind: "u32",
    setting: "num_key_value_heads",
    of: (config, _, arch) => (arch === "gpt2" ? undefined : attentionsOf(config)[0].kvHeads),
  },
  {
    key: "attention.layer_norm_rms_epsilon",
    kind: "f32",
    setting: "rms_norm_eps",
    of: ({ norm }) => (norm.kind === "rms" ? norm.epsilon : undefined),
  },
  layerNormEpsilon("cohere2", "layer_norm_eps"),
  layerNormEpsilon("gpt2", "layer_norm_eps"),
  layerNormEpsilon("starcoder2", "norm_epsilon"),
  { key: "attention.key_length", kind: "u32", setting: "head_dim", of: saidHeadSize },
  { key: "attention.value_length", kind: "u32", of: saidHeadSize },
  ...numbersOf(["gemma4"], "u32", {
    [SLIDING_HEAD]: [undefined, slidingHead],
    "attention.value_length_swa": [undefined, slidingHead],
    "rope.dimension_count_swa": [undefined, slidingHead],
    "attention.shared_kv_layers": [
      undefined,
      ({ layers }) => layers.filter((layer) => keysOf(layer) !== undefined).length,
    ],
    embedding_length_per_layer_input: [
      "hidden_size_per_layer_input",
      ({ layerInputs }) => layerInputs?.norm.weight.cols ?? 0,
    ],
  }),
  {
    key: "vocab_size",
    kind: "u32",
    of: (config, _, arch) =>
      isOfLlama(config) || ["cohere2", "exaone4", "lfm2", "lfm2moe"].includes(arch) ? config.vocabularySize : undefined,
  },
  {
    key: "rope.dimension_count",
    kind: "u32",
    of: (config, _, arch) =>
      isOfLlama(config) || ["phi3", "glm4", "cohere2", "gemma4", ...HYBRIDS].includes(arch)
        ? config.ropes[0]?.size
        : undefined,
  },
  {
    key: "rope.freq_base",
    kind: "f32",
    setting: "rope_theta",
    of: ({ ropes: [full] }, _, arch) => (arch === "gemma2" || full?.scaling.kind === "none" ? undefined : full?.theta),
  },
  {
    key: "rope.freq_base_swa",
    kind: "f32",
    setting: "rope_local_base_freq",
    of: ({ ropes: [, sliding] }) => (sliding?.scaling.kind === "none" ? undefined : sliding?.theta),
  },
  { key: GROWTH, kind: "f32", only: ["mistral3"], of: ({ ropes: [rope] }) => rope?.growth?.beta },
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
    // Where nothing is said, llama.cpp caps Gemma 4's.
    of: ({ logitSoftcap }, _, arch) => logitSoftcap ?? (arch === "gemma4" ? 0 : undefined),
  },
  ...numbersOf(["granite", "granitemoe"], "f32", {
    "attention.scale": ["attention_multiplier", (config) => attentionsOf(config)[0].scale],
    embedding_scale: ["embedding_multiplier", ({ embeddingScale }) => embeddingScale],
    residual_scale: ["residual_multiplier", ({ layers }) => layers[0]?.[0]?.factor],
    logit_scale: ["logits_scaling", (_, { logits_scaling: scaling }) => scaling ?? 1],
  }),
  { key: "logit_scale", kind: "f32", only: ["cohere2"], setting: "logit_scale", of: ({ logitScale }) => logitScale },
  { key: "attention.sliding_window", kind: "u32", setting: "sliding_window", of: slidingWindow },
];

/** The numbers of an architecture of llama.cpp. */
export function fieldsOf(arch: string): Field[] {
  return FIELDS.filter(({ only }) => only?.includes(arch) !== false);
}

/** Numbers of some architectures alone, by their keys: each one's setting, and what is written. */
function numbersOf(
  only: readonly string[],
  kind: Field["kind"],
  fields: Readonly<Record<string, readonly [setting: keyof ConfigJson | undefined, of: Field["of"]]>>,
): Field[] {
  return Object.entries(fields).map(([key, [setting, of]]) => ({ key, kind, only, ...(setting && { setting }), of }));
}

/** Of norms by mean and variance. */
function layerNormEpsilon(arch: string, setting: keyof ConfigJson): Field {
  return { key: "attention.layer_norm_epsilon", kind: "f32", only: [arch], setting, of: ({ norm }) => norm.epsilon };
}

/** Rows of an MLP's gate, or of an expert's where it has no number of its own. */
function innerSize(config: DecoderConfig, { intermediate_size: said }: ConfigJson, arch: string): number | undefined {
  if (fieldsOf(arch).some(({ key }) => key === "expert_feed_forward_length")) return said;
  const { layers } = config;
  const [inner] = layers.flat().flatMap(({ mixer }) => (mixer.kind === "mlp" ? [mixer.output.weight.cols] : []));
  return inner ?? expertsOf(config)?.down.cols;
}

/** The first of its mixtures of experts. */
function expertsOf({ layers }: DecoderConfig): Experts<PlannedMatrix> | undefined {
  return layers.flat().flatMap(({ mixer }) => (mixer.kind === "experts" ? [mixer] : []))[0];
}

/** A number of the gated delta rule. */
function ofRule(of: (rule: GatedDelta<PlannedMatrix>) => number): (config: DecoderConfig) => number | undefined {
  return ({ layers }) => {
    const [rule] = layers.flat().flatMap(({ mixer }) => (mixer.kind === "gated-delta" ? [mixer] : []));
    return rule && of(rule);
  };
}

/** Of convolutions. */
function tapsOf({ hiddenSize, layers }: DecoderConfig): number | undefined {
  return layers
    .flat()
    .flatMap(({ mixer }) => (mixer.kind === "convolution" ? [mixer.weight.cols / hiddenSize] : []))[0];
}

/** Elements of a head of layers that see a window, where these have a rope of their own. */
function slidingHead(config: DecoderConfig): number | undefined {
  return attentionsOf(config).find(({ rope }) => rope === 1)?.headSize;
}

/** Left out where llama.cpp's own rule, hidden size by heads, is all that its converter relies on. */
function saidHeadSize(config: DecoderConfig, json: ConfigJson, arch: string): number | undefined {
  if (["phi3", "granite", "granitemoe", "gpt2"].includes(arch)) return undefined;
  const headSize = attentionsOf(config).at(-1)?.headSize;
  return !["qwen2", "qwen2moe"].includes(arch) || (json.head_dim ?? undefined) !== undefined ? headSize : undefined;
}

/** Its converter says more of Llama and what turns as Llama does. */
function isOfLlama({ architecture }: DecoderConfig): boolean {
  return architectureOf(architecture)?.gguf?.pairs === true;
}

/** Every how many layers one has attention, by the first that has. */
export function attentionPeriod({ layers }: DecoderConfig): number {
  return 1 + layers.findIndex((layer) => layer.some(({ mixer }) => mixer.kind === "attention"));
}

/** The first window of any layer, where llama.cpp is told of it. */
export function slidingWindow(config: DecoderConfig, _: unknown, arch: string): number | undefined {
  const window = attentionsOf(config)
    .map((layer) => layer.window)
    .find(Number.isFinite);
  // Phi 4 is told from Phi 3 by its 0.
  if (arch === "phi3") return window ?? 0;
  return arch.startsWith("gemma") || ["olmo2", "exaone4", "cohere2", "gpt-oss"].includes(arch) ? window : undefined;
}
