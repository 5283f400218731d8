import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";

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
