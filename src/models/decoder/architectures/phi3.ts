import { type Architecture, ropedDecoder, sameLayers } from "./common.ts";

/** Phi 3, 3.5 and 4: llama with q, k, v in one matrix, gate and up in another, and often LongRoPE. */
export const phi3: Architecture = {
  type: "phi3",
  describe(json) {
    return {
      ...ropedDecoder(json, { contextLength: 4096, epsilon: 1e-5, rope: { partial: true, trainedLength: 4096 } }),
      layers: sameLayers(json, json.sliding_window ?? Infinity),
      fused: true,
    };
  },
};
