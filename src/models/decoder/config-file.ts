import * as v from "valibot";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { brief, oneLine, quote } from "../../files/failure.ts";
import { isJsonObject } from "../../files/json.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import { hintOfAdapter } from "../../files/run-names.ts";

/** A size, a number of things. */
export const Size = v.pipe(v.number(), v.integer(), v.minValue(1));
const Count = v.pipe(v.number(), v.integer(), v.minValue(0));
export const MaybeNumber = v.nullish(v.number());
const MaybeEpsilon = v.nullish(v.pipe(v.number(), v.minValue(0)));
const MaybePositive = v.nullish(v.pipe(v.number(), v.gtValue(0)));
/** Above every model that there is; what a damaged file says would fill the memory before a weight is missed. */
export const MOST_LAYERS = 10_000;
/** Of a matrix's side, or of heads: wider than any model, and small enough that shapes are exact numbers. */
const Width = v.pipe(Size, v.maxValue(2 ** 24));
/** Tokens are ranked by numbers that have 21 bits for an id; the largest vocabularies have a million. */
const MOST_TOKENS = 2 ** 21;

/** `rope_parameters` or `rope_scaling`, of one kind of layers. */
export const RopeJson = v.looseObject({
  rope_type: v.nullish(v.string()),
  type: v.nullish(v.string()),
  rope_theta: MaybePositive,
  factor: MaybePositive,
  partial_rotary_factor: MaybeNumber,
  original_max_position_embeddings: MaybePositive,
  attention_factor: MaybeNumber,
  beta_fast: MaybeNumber,
  beta_slow: MaybeNumber,
  mscale: MaybeNumber,
  mscale_all_dim: MaybeNumber,
  truncate: v.nullish(v.boolean()),
  llama_4_scaling_beta: MaybeNumber,
  low_freq_factor: MaybeNumber,
  high_freq_factor: MaybeNumber,
  short_factor: v.nullish(v.array(v.number())),
  long_factor: v.nullish(v.array(v.number())),
});
export type RopeJson = v.InferOutput<typeof RopeJson>;

/** The settings of config.json that decoders of the llama family are made from, by transformers' names. */
export const ConfigJson = v.looseObject({
  model_type: v.string(),
  // The kind of the text decoder of a model of several parts.
  text_config: v.nullish(v.looseObject({ model_type: v.nullish(v.string()) })),
  vocab_size: v.pipe(Size, v.maxValue(MOST_TOKENS)),
  hidden_size: Width,
  intermediate_size: Width,
  num_hidden_layers: v.pipe(Size, v.maxValue(MOST_LAYERS)),
  num_attention_heads: Width,
  num_key_value_heads: v.nullish(Width),
  head_dim: v.nullish(Width),
  hidden_act: v.nullish(v.string()),
  hidden_activation: v.nullish(v.string()),
  max_position_embeddings: v.nullish(Size),
  original_max_position_embeddings: v.nullish(Size),
  rms_norm_eps: MaybeEpsilon,
  rope_theta: MaybePositive,
  rope_local_base_freq: MaybePositive,
  partial_rotary_factor: MaybeNumber,
  rope_scaling: v.nullish(RopeJson),
  // Of all layers alike, or nested by the type of layer.
  rope_parameters: v.nullish(
    v.looseObject({
      ...RopeJson.entries,
      full_attention: v.nullish(RopeJson),
      sliding_attention: v.nullish(RopeJson),
    }),
  ),
  tie_word_embeddings: v.nullish(v.boolean()),
  attention_bias: v.nullish(v.boolean()),
  qkv_bias: v.nullish(v.boolean()),
  mlp_bias: v.nullish(v.boolean()),
  sliding_window: v.nullish(Count),
  use_sliding_window: v.nullish(v.boolean()),
  max_window_layers: v.nullish(v.number()),
  no_rope_layers: v.nullish(v.array(v.number())),
  no_rope_layer_interval: v.nullish(Size),
  attention_out_bias: v.nullish(v.boolean()),
  use_bias: v.nullish(v.boolean()),
  norm_epsilon: MaybeEpsilon,
  layer_norm_eps: MaybeEpsilon,
  scale_attn_weights: v.nullish(v.boolean()),
  scale_attn_by_inverse_layer_idx: v.nullish(v.boolean()),
  logit_scale: MaybePositive,
  embedding_multiplier: MaybePositive,
  attention_multiplier: MaybePositive,
  residual_multiplier: MaybePositive,
  logits_scaling: MaybePositive,
  sliding_window_pattern: v.nullish(v.union([v.pipe(v.number(), v.integer()), v.string()])),
  layer_types: v.nullish(v.array(v.string())),
  layers_block_type: v.nullish(v.array(v.string())),
  position_embedding_type: v.nullish(v.string()),
  // Mixtures of experts; their number has two names.
  num_experts: v.nullish(Count),
  num_local_experts: v.nullish(Count),
  num_experts_per_tok: v.nullish(Count),
  top_k_experts: v.nullish(Count),
  shared_intermediate_size: v.nullish(Width),
  moe_intermediate_size: v.nullish(Width),
  shared_expert_intermediate_size: v.nullish(Width),
  norm_topk_prob: v.nullish(v.boolean()),
  num_dense_layers: v.nullish(Count),
  first_k_dense_replace: v.nullish(Count),
  n_group: v.nullish(Count),
  n_shared_experts: v.nullish(Size),
  use_qk_norm: v.nullish(v.boolean()),
  qk_layernorm: v.nullish(v.boolean()),
  use_parallel_residual: v.nullish(v.boolean()),
  use_expert_bias: v.nullish(v.boolean()),
  routed_scaling_factor: MaybePositive,
  clip_qkv: MaybeNumber,
  swiglu_alpha: MaybeNumber,
  swiglu_limit: MaybePositive,
  decoder_sparse_step: v.nullish(Size),
  mlp_only_layers: v.nullish(v.array(v.number())),
  // Convolutions, and the MLPs beside them.
  conv_L_cache: v.nullish(Size),
  conv_bias: v.nullish(v.boolean()),
  full_attn_idxs: v.nullish(v.array(v.number())),
  block_auto_adjust_ff_dim: v.nullish(v.boolean()),
  block_ffn_dim_multiplier: MaybePositive,
  block_multiple_of: v.nullish(Size),
  // The gated delta rule.
  linear_conv_kernel_dim: v.nullish(Size),
  linear_key_head_dim: v.nullish(Width),
  linear_value_head_dim: v.nullish(Width),
  linear_num_key_heads: v.nullish(Width),
  linear_num_value_heads: v.nullish(Width),
  full_attention_interval: v.nullish(Size),
  query_pre_attn_scalar: MaybePositive,
  attn_logit_softcapping: MaybePositive,
  final_logit_softcapping: MaybePositive,
  use_bidirectional_attention: v.nullish(v.union([v.boolean(), v.string()])),
  // Sizes of some layers, by their number; those of layers that see all tokens, where they have sizes of their own.
  // transformers fills the numbers up with zeros: "05".
  per_layer_config: v.nullish(
    v.pipe(
      v.record(
        v.pipe(v.string(), v.regex(/^\d+$/, "a number of a layer is wanted")),
        v.strictObject({ head_dim: v.nullish(Width), num_key_value_heads: v.nullish(Width) }),
      ),
      v.transform((layers) => new Map(Object.entries(layers).map(([index, own]) => [Number(index), own]))),
    ),
  ),
  global_head_dim: v.nullish(Width),
  num_global_key_value_heads: v.nullish(Width),
  attention_k_eq_v: v.nullish(v.boolean()),
  num_kv_shared_layers: v.nullish(Count),
  use_double_wide_mlp: v.nullish(v.boolean()),
  hidden_size_per_layer_input: v.nullish(v.pipe(Count, v.maxValue(2 ** 24))),
  vocab_size_per_layer_input: v.nullish(v.pipe(Size, v.maxValue(MOST_TOKENS))),
  enable_moe_block: v.nullish(v.boolean()),
  eos_token_id: v.nullish(v.union([v.number(), v.array(v.number())])),
  bos_token_id: v.nullish(v.union([v.number(), v.array(v.number())])),
  pad_token_id: MaybeNumber,
});
export type ConfigJson = v.InferOutput<typeof ConfigJson>;

const Kind = v.looseObject({ model_type: v.optional(v.string(), ""), quantization_config: v.optional(v.unknown()) });

/**
 * Reads a model folder's config.json.
 * @param schema its settings, of models whose `model_type` is one of `supported`
 * @param named brings the settings of such a model under the names of the schema
 * @throws RandloraError `file` without one, `format` when it is broken, `model` for another kind of model or weights
 */
export async function readConfigOf<const S extends v.GenericSchema>(
  folder: string,
  supported: readonly string[],
  schema: S,
  named: (modelType: string, json: Readonly<Record<string, unknown>>) => object = (_, json) => json,
): Promise<v.InferOutput<S>> {
  const path = join(folder, "config.json");
  if (!existsSync(path)) {
    const hint = (await hintOfAdapter(folder)) ?? "MODEL must be a folder with config.json and weights";
    throw new RandloraError("file", `${oneLine(path)}: no such file`, hint);
  }
  const json = await readJson(path, MAX_SETTINGS_BYTES, "fetch or copy the file again");
  const kind = v.safeParse(Kind, json);
  if (!kind.success) throw broken(path, kind.issues[0]);
  const { model_type, quantization_config } = kind.output;
  if (!supported.includes(model_type)) {
    const missing = missingFor(model_type, kind.output);
    const cause = `models of type ${quote(model_type)} cannot be run${missing === undefined ? "" : `: this one ${missing}`}`;
    const name = model_type === "" ? "names no model_type" : cause;
    throw new RandloraError("model", `${oneLine(path)}: ${name}`, `supported: ${supported.join(", ")}`);
  }
  if (quantization_config !== undefined && quantization_config !== null && !isPacked(kind.output)) {
    const method = isJsonObject(quantization_config) ? quantization_config["quant_method"] : undefined;
    const named = typeof method === "string" ? ` (${brief(method)})` : "";
    const hint = method === "fp8" ? WIDENED : UNQUANTIZED;
    throw new RandloraError("model", `${oneLine(path)}: the weights are quantized${named}`, hint);
  }
  const parsed = v.safeParse(schema, named(model_type, kind.output));
  if (!parsed.success) throw broken(path, parsed.issues[0]);
  return parsed.output;
}

/** What to use instead of a checkpoint with quantized weights. */
export const UNQUANTIZED = "use the model's original checkpoint, in f32, f16 or bf16";

const WIDENED =
  "use the model's BF16 release (its name lacks -FP8, or ends with -BF16), or widen it in transformers: " +
  "from_pretrained(MODEL, quantization_config=FineGrainedFP8Config(dequantize=True)).save_pretrained(FOLDER)";

/** Does this config.json say that experts are stored in MXFP4, as those of gpt-oss are? */
export function isPacked(json: Readonly<Record<string, unknown>>): boolean {
  const { model_type: type, quantization_config: settings } = json;
  return type === "gpt_oss" && isJsonObject(settings) && settings["quant_method"] === "mxfp4";
}

function broken(path: string, issue: v.BaseIssue<unknown>): RandloraError {
  const where = v.getDotPath(issue);
  return new RandloraError(
    "format",
    `${oneLine(path)}: ${where === null ? "" : `${brief(where)}: `}${brief(issue.message)}`,
  );
}

/** What models of types that cannot be run need and nothing here does. */
const MISSING: readonly (readonly [what: string, types: RegExp])[] = [
  [
    "needs MLA (multi-head latent attention)",
    /^(?:deepseek_v[23]|deepseek_v32|kimi_k2\d?|glm4_moe_lite|glm_moe_dsa|longcat_flash|minicpm3|mistral4|mistral_large4|sarvam_mla|youtu)$/,
  ],
  ["needs Mamba layers", /^(?:mamba2?|falcon_mamba|falcon_h1|jamba|bamba|zamba2?|nemotron_h|plamo2?)$/],
  ["needs RWKV layers", /^rwkv/],
  ["needs lightning attention", /^minimax$/],
  ["needs attention in chunks", /^llama4/],
  ["needs attention to its encoder of images", /^mllama/],
  ["needs AltUp and LAuReL", /^gemma3n/],
  ["needs ALiBi", /^(?:bloom|mpt)$/],
  [
    "is an encoder and a decoder; models that only decode can be run",
    /^(?:m?t5|umt5|t5gemma2?|m?bart|pegasus|marian|m2m_100|whisper)$/,
  ],
  [
    "is an encoder; models that decode can be run",
    /^(?:(?:distil|modern|al)?bert|(?:xlm_)?roberta|xlm-roberta|deberta|deberta[-_]v2|electra)$/,
  ],
];

/** Why models of this `model_type` cannot be run, where it is known, behind the type. @param json all of config.json */
function missingFor(type: string, json: Readonly<Record<string, unknown>>): string | undefined {
  const known = MISSING.find(([, types]) => types.test(type))?.[0];
  return known ?? (isJsonObject(json["auto_map"]) ? "needs Python code of its own (auto_map)" : undefined);
}
