import { type Architecture, decoder, isSliding, llamaLayer, sizesOf } from "./common.ts";
import { ropeOf } from "../rope-json.ts";
import { noRope } from "../../blocks/rope-scaling.ts";

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

/** Seed-OSS: llama with biases on q, k and v unless `attention_bias` is off, and on the output where that is asked for. */
export const seedOss: Architecture = {
  type: "seed_oss",
  title: "Seed-OSS",
  gguf: { name: "seed_oss", transformers: "SeedOssForCausalLM", mlpNorm: "post_attention_norm" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 524_288, epsilon: 1e-6, kvHeads: 8, headSize: 128 });
    const biases = { qkvBias: json.attention_bias ?? true, outputBias: json.attention_out_bias ?? false };
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => llamaLayer(path, sizes, biases, { bias: json.mlp_bias ?? false }),
    });
  },
};
