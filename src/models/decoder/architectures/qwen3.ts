import { type Architecture, mixedLayers, ropedDecoder, withDefault } from "./common.ts";

/** Qwen 3: heads of q and k are normalized, and no biases unless `attention_bias`. */
export const qwen3: Architecture = {
  type: "qwen3",
  describe(json) {
    const window = json.use_sliding_window === true ? withDefault(json.sliding_window, 4096) : undefined;
    const slidingFrom = json.max_window_layers ?? 28;
    const bias = json.attention_bias ?? false;
    return {
      ...ropedDecoder(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 32, headSize: 128 }),
      layers: mixedLayers(json, window, (layer) => window !== undefined && layer >= slidingFrom),
      queryKeyNorm: true,
      qkvBias: bias,
      outputBias: bias,
    };
  },
};
