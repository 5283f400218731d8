import {
  type Architecture,
  decoder,
  isSliding,
  llamaLayer,
  type ModelSizes,
  queryKeyNorms,
  routingOf,
  routingsOf,
  sizesOf,
  usualLayer,
  withDefault,
} from "./common.ts";
import type { ConfigJson } from "../config-file.ts";
import type { DecoderConfig } from "../config.ts";
import { ropeOf } from "../rope-json.ts";
import { type ExpertParts, experts } from "../experts.ts";
import { attention, gatedDelta, gatedMlp, MOST_TAPS, rmsNorm } from "../parts.ts";
import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";

/** Qwen 2 and 2.5: llama with biases on q, k and v; upper layers may have a sliding window. */
export const qwen2: Architecture = {
  type: "qwen2",
  title: "Qwen 2 and 2.5",
  gguf: { name: "qwen2", transformers: "Qwen2ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 32 });
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path, index) => llamaLayer(path, sizes, { qkvBias: true, window: upperWindow(json, index) }),
    });
  },
};

/** The window of layer number `index`: of the upper ones, where windows are used at all. */
function upperWindow(json: ConfigJson, index: number): number {
  const window = json.use_sliding_window === true ? withDefault(json.sliding_window, 4096) : undefined;
  const isUpper = window !== undefined && index >= (json.max_window_layers ?? 28);
  return (isSliding(json, index, isUpper) ? window : undefined) ?? Infinity;
}

/** Qwen 3: heads of q and k are normalized, and no biases unless `attention_bias`. */
export const qwen3: Architecture = {
  type: "qwen3",
  title: "Qwen 3",
  gguf: { name: "qwen3", transformers: "Qwen3ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 32, headSize: 128 });
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path, index) {
        const window = upperWindow(json, index);
        return llamaLayer(path, sizes, { qkvBias: bias, outputBias: bias, window, ...queryKeyNorms(path, sizes) });
      },
    });
  },
};

/** Qwen 1.5 and 2 with mixtures of experts (A2.7B, 57B-A14B): an expert beside them takes all tokens; some layers may have a plain MLP. */
export const qwen2Moe: Architecture = {
  type: "qwen2_moe",
  title: "Qwen 2 MoE",
  gguf: { name: "qwen2moe", transformers: "Qwen2MoeForCausalLM" },
  // transformers writes 0 where there is no window.
  settings: ({ sliding_window: width, ...json }) => ({ ...json, sliding_window: width === 0 ? null : width }),
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 16 });
    const routings = routingsOf(json, { count: 60, chosen: 4, amongChosen: json.norm_topk_prob ?? false });
    const inner = json.moe_intermediate_size ?? 1408;
    const sharedInner = json.shared_expert_intermediate_size ?? 5632;
    const isWindowed = json.use_sliding_window ?? false;
    const width = (isWindowed ? withDefault(json.sliding_window, 4096) : undefined) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path, index) {
        // Every other layer below max_window_layers, as transformers has it.
        const usual = isWindowed && index % 2 === 0 && index < (json.max_window_layers ?? 28);
        const window = isSliding(json, index, usual) ? width : Infinity;
        const routing = routings(index);
        const heads = { qkvBias: json.qkv_bias ?? true, window };
        if (routing === undefined) return llamaLayer(path, sizes, heads);
        return usualLayer(path, sizes, heads, experts(path, { ...sizes, inner }, routing, { sharedInner }));
      },
    });
  },
};

/** Qwen 3 with mixtures of experts (30B-A3B, 235B-A22B): heads of q and k are normalized; some layers may have a plain MLP. */
export const qwen3Moe: Architecture = {
  type: "qwen3_moe",
  title: "Qwen 3 MoE",
  gguf: { name: "qwen3moe", transformers: "Qwen3MoeForCausalLM" },
  describe: (json) => describeQwen3Moe(json),
};

/** @param parts where the experts are in files */
export function describeQwen3Moe(json: ConfigJson, parts: ExpertParts = {}): DecoderConfig {
  const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 4 });
  const amongChosen = json.norm_topk_prob ?? false;
  const routings = routingsOf(json, { count: 128, chosen: 8, amongChosen });
  const inner = json.moe_intermediate_size ?? 768;
  const window = (json.use_sliding_window === true ? withDefault(json.sliding_window, 4096) : undefined) ?? Infinity;
  const bias = json.attention_bias ?? false;
  return decoder(json, sizes, {
    ropes: [ropeOf(json, sizes)],
    layer(path, index) {
      const heads = { qkvBias: bias, outputBias: bias, window, ...queryKeyNorms(path, sizes) };
      const routing = routings(index);
      if (routing === undefined) return llamaLayer(path, sizes, heads);
      return usualLayer(path, sizes, heads, experts(path, { ...sizes, inner }, routing, parts));
    },
  });
}

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
