import { type Architecture, ropedDecoder, sameLayers } from "./common.ts";

/** Mistral 7B and its successors: llama with a sliding window in every layer, or in none. */
export const mistral: Architecture = {
  type: "mistral",
  describe(json) {
    const window = json.sliding_window === undefined ? 4096 : (json.sliding_window ?? Infinity);
    return {
      ...ropedDecoder(json, { contextLength: 131_072, epsilon: 1e-6 }),
      layers: sameLayers(json, window),
    };
  },
};
