import { type Architecture, ropedDecoder, sameLayers, withDefault } from "./common.ts";

/** Mistral 7B and its successors: llama with a sliding window in every layer, or in none. */
export const mistral: Architecture = {
  type: "mistral",
  describe(json) {
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return {
      ...ropedDecoder(json, { contextLength: 131_072, epsilon: 1e-6, kvHeads: 8 }),
      layers: sameLayers(json, window),
    };
  },
};
