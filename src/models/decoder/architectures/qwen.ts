import {
  type Architecture,
  decoder,
  isSliding,
  llamaLayer,
  queryKeyNorms,
  routingsOf,
  sizesOf,
  usualLayer,
  withDefault,
} from "./common.ts";
import type { ConfigJson } from "../config-file.ts";
import type { DecoderConfig } from "../config.ts";
import { ropeOf } from "../rope-json.ts";
import { type ExpertParts, experts } from "../parts.ts";

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
