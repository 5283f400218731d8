import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { attention, experts, gatedDelta, gatedMlp, MOST_TAPS, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import type { ConfigJson } from "../config-file.ts";
import type { DecoderConfig } from "../config.ts";
import { type Architecture, decoder, type ModelSizes, routingOf, routingsOf, sizesOf } from "./common.ts";

/** How a checkpoint calls the layers for predicting several tokens at once, which nothing here does. */
const SEVERAL_AT_ONCE = "mtp.";

/** Qwen3-Next: the gated delta rule in three of four layers, gated attention in the others, and mixtures of experts with one for all tokens. */
export const qwen3Next: Architecture = {
  type: "qwen3_next",
  title: "Qwen3-Next",
  gguf: { name: "qwen3next", transformers: "Qwen3NextForCausalLM", mlpNorm: "post_attention_norm" },
  targets: ["q_proj", "v_proj", "in_proj_qkvz"],
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, headSize: 256, kvHeads: 2 });
    const routings = routingsOf(json, { count: 512, chosen: 10, amongChosen: json.norm_topk_prob ?? true });
    const inner = json.moe_intermediate_size ?? 512;
    const sharedInner = json.shared_expert_intermediate_size ?? 512;
    return hybrid(json, sizes, true, (path, index) => {
      const routing = routings(index);
      return routing ? experts(path, { ...sizes, inner }, routing, { sharedInner }) : gatedMlp(`${path}.mlp`, sizes);
    });
  },
};

/** What is adapted of Qwen 3.5 where nobody says. */
export const QWEN35_TARGETS = ["q_proj", "v_proj", "in_proj_qkv"] as const;

/** Qwen 3.5, dense, as transformers saves its text decoder alone. */
export const qwen35Text: Architecture = {
  type: "qwen3_5_text",
  title: "Qwen 3.5, dense (its text)",
  gguf: { name: "qwen35", transformers: "Qwen3_5ForCausalLM", mlpNorm: "post_attention_norm" },
  targets: QWEN35_TARGETS,
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, headSize: 256, kvHeads: 4 });
    return hybrid(json, sizes, false, (path) => gatedMlp(`${path}.mlp`, sizes));
  },
};

/** Qwen 3.5 with mixtures of experts (35B-A3B), as transformers saves its text decoder alone. */
export const qwen35MoeText: Architecture = {
  type: "qwen3_5_moe_text",
  title: "Qwen 3.5 MoE (its text)",
  targets: QWEN35_TARGETS,
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, headSize: 256, kvHeads: 2 });
    const routing = routingOf(json, { count: 256, chosen: 8, amongChosen: true });
    const inner = json.moe_intermediate_size ?? 512;
    const sharedInner = json.shared_expert_intermediate_size ?? 512;
    return hybrid(json, sizes, false, (path) => experts(path, { ...sizes, inner }, routing, { sharedInner }));
  },
};

/** @param grouped projections of the rule are by head of keys */
function hybrid(
  json: ConfigJson,
  sizes: ModelSizes,
  grouped: boolean,
  mlp: (path: string, index: number) => ReturnType<typeof gatedMlp> | ReturnType<typeof experts>,
): DecoderConfig {
  const { hidden, headSize, epsilon } = sizes;
  const rule = {
    keyHeads: json.linear_num_key_heads ?? 16,
    keySize: json.linear_key_head_dim ?? 128,
    heads: json.linear_num_value_heads ?? 32,
    valueSize: json.linear_value_head_dim ?? 128,
    taps: json.linear_conv_kernel_dim ?? 4,
    grouped,
  };
  if (rule.taps > MOST_TAPS)
    throw new RandloraError("model", `convolutions over ${rule.taps} positions are not supported`);
  const bias = json.attention_bias ?? false;
  const norm = (name: string, size = hidden) => rmsNorm(name, size, epsilon, 1);
  const types = Array.from({ length: json.num_hidden_layers }, (_, index) => isLinear(json, index));
  if (types.every((isOne) => isOne)) throw new RandloraError("model", "a model without attention is not supported");
  const described = decoder(json, sizes, {
    ropes: [
      ropeOf({ ...json, partial_rotary_factor: json.partial_rotary_factor ?? 0.25 }, { ...sizes, partial: true }),
    ],
    norm: norm("model.norm"),
    layer(path, index) {
      const self = `${path}.self_attn`;
      const mixer = types[index]
        ? gatedDelta(`${path}.linear_attn`, sizes, rule)
        : attention(self, sizes, {
            gated: true,
            qkvBias: bias,
            outputBias: bias,
            queryNorm: norm(`${self}.q_norm`, headSize),
            keyNorm: norm(`${self}.k_norm`, headSize),
          });
      return [
        { before: norm(`${path}.input_layernorm`), mixer },
        { before: norm(`${path}.post_attention_layernorm`), mixer: mlp(path, index) },
      ];
    },
  });
  return { ...described, otherParts: new Set([SEVERAL_AT_ONCE]) };
}

/** By `layer_types`, or all but every fourth. @throws RandloraError `model` for another type */
function isLinear(json: ConfigJson, index: number): boolean {
  const type = json.layer_types?.[index];
  if (type === undefined) return (index + 1) % (json.full_attention_interval ?? 4) !== 0;
  if (type === "linear_attention" || type === "full_attention") return type === "linear_attention";
  throw new RandloraError("model", `layers of type ${quote(type)} are not supported`);
}
