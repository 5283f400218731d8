import { type Architecture, ropedDecoder } from "./common.ts";

/** Llama 2 and 3, SmolLM2, TinyLlama and all that share their config. */
export const llama: Architecture = {
  type: "llama",
  describe(json) {
    const bias = json.attention_bias ?? false;
    return {
      ...ropedDecoder(json, { contextLength: 2048, epsilon: 1e-6 }),
      qkvBias: bias,
      outputBias: bias,
      mlpBias: json.mlp_bias ?? false,
    };
  },
};
