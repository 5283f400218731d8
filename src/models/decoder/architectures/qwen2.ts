import { type Architecture, mixedLayers, ropedDecoder, withDefault } from "./common.ts";

/** Qwen 2 and 2.5: llama with biases on q, k and v; upper layers may have a sliding window. */
export const qwen2: Architecture = {
  type: "qwen2",
  describe(json) {
    const window = json.use_sliding_window === true ? withDefault(json.sliding_window, 4096) : undefined;
    const slidingFrom = json.max_window_layers ?? 28;
    return {
      ...ropedDecoder(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 32 }),
      layers: mixedLayers(json, window, (layer) => window !== undefined && layer >= slidingFrom),
      qkvBias: true,
    };
  },
};
