import { noRope } from "../../blocks/rope-scaling.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, isSliding, llamaLayer, sizesOf } from "./common.ts";

/** SmolLM3: llama, every fourth layer of which has no rope, and perhaps a window. */
export const smollm3: Architecture = {
  type: "smollm3",
  title: "SmolLM3",
  gguf: { name: "smollm3", transformers: "SmolLM3ForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 4 });
    const interval = json.no_rope_layer_interval ?? 4;
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, theta: 2_000_000 }), noRope(sizes.headSize)],
      layer(path, index) {
        const turns = json.no_rope_layers?.[index] ?? Number((index + 1) % interval !== 0);
        const rope = turns === 0 ? 1 : 0;
        const slides = isSliding(json, index, json.use_sliding_window === true && turns === 0);
        const window = (slides ? json.sliding_window : undefined) ?? Infinity;
        const mlpBias = json.mlp_bias ?? false;
        return llamaLayer(path, sizes, { rope, window, qkvBias: bias, outputBias: bias }, { bias: mlpBias });
      },
      tied: true,
    });
  },
};
