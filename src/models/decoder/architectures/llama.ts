import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";
import { ropeOf } from "../rope-json.ts";

/** Llama 2 and 3, SmolLM2, TinyLlama and all that share their config. */
export const llama: Architecture = {
  type: "llama",
  title: "Llama 2 and 3, SmolLM2, TinyLlama",
  gguf: { name: "llama", transformers: "LlamaForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-6 });
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => llamaLayer(path, sizes, { qkvBias: bias, outputBias: bias }, { bias: json.mlp_bias ?? false }),
    });
  },
};
