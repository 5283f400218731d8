import { type Architecture, decoder, llamaLayer, sizesOf, withDefault } from "./common.ts";
import { ropeOf } from "../rope-json.ts";

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
