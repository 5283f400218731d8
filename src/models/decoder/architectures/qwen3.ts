import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";
import { rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { upperWindow } from "./qwen2.ts";

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
        const norm = (name: string) => rmsNorm(`${path}.self_attn.${name}`, sizes.headSize, sizes.epsilon);
        const norms = { queryNorm: norm("q_norm"), keyNorm: norm("k_norm") };
        const window = upperWindow(json, index);
        return llamaLayer(path, sizes, { qkvBias: bias, outputBias: bias, window, ...norms });
      },
    });
  },
};
