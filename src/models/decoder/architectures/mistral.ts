import {
  type Architecture,
  decoder,
  isSliding,
  llamaLayer,
  routingOf,
  sizesOf,
  usualLayer,
  withDefault,
} from "./common.ts";
import { growingRopeOf, ropeOf } from "../rope-json.ts";
import { experts } from "../parts.ts";

/** Mistral 7B and its successors: llama with a sliding window in every layer, or in none. */
export const mistral: Architecture = {
  type: "mistral",
  title: "Mistral 7B and its successors",
  gguf: { name: "llama", transformers: "MistralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-6, kvHeads: 8 });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => llamaLayer(path, sizes, { window }),
    });
  },
};

/** Ministral 8B of 2024: Mistral, some layers of which see a window. */
export const ministral: Architecture = {
  type: "ministral",
  title: "Ministral 8B (2024)",
  gguf: { name: "llama", transformers: "MinistralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-6, kvHeads: 8 });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path, index) => llamaLayer(path, sizes, { window: isSliding(json, index, true) ? window : Infinity }),
    });
  },
};

/** What config.json means where it has no `rope_parameters`. */
const USUAL_ROPE = {
  rope_type: "yarn",
  rope_theta: 1_000_000,
  factor: 16,
  original_max_position_embeddings: 16_384,
  mscale: 1,
  mscale_all_dim: 1,
  llama_4_scaling_beta: 0.1,
};

/** Ministral 3 (3B, 8B, 14B): Mistral with YaRN, whose queries grow with their position. */
export const ministral3: Architecture = {
  type: "ministral3",
  title: "Ministral 3 (text)",
  gguf: { name: "mistral3", transformers: "Ministral3ForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 262_144, epsilon: 1e-5, kvHeads: 8, headSize: 128 });
    const rope = { ...json, rope_parameters: json.rope_parameters ?? json.rope_scaling ?? USUAL_ROPE };
    return decoder(json, sizes, {
      ropes: [growingRopeOf(rope, sizes)],
      layer: (path) => llamaLayer(path, sizes, { window: json.sliding_window ?? Infinity }),
    });
  },
};

/** Mixtral 8x7B and 8x22B: Mistral's layer with a mixture of experts in the place of its MLP. */
export const mixtral: Architecture = {
  type: "mixtral",
  title: "Mixtral",
  gguf: { name: "llama", transformers: "MixtralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-5, kvHeads: 8 });
    const routing = routingOf(json, { count: 8, chosen: 2, amongChosen: true });
    const window = json.sliding_window ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, theta: 1e6 })],
      layer(path) {
        const names = { router: "gate.weight", gate: "w1", up: "w3", down: "w2" };
        return usualLayer(path, sizes, { window }, experts(path, sizes, routing, { path: "block_sparse_moe", names }));
      },
    });
  },
};
