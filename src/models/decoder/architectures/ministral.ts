import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, isSliding, llamaLayer, sizesOf, withDefault } from "./common.ts";

/** Ministral 8B of 2024: Mistral, some layers of which see a window. */
export const ministral: Architecture = {
  type: "ministral",
  title: "Ministral 8B (2024)",
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-6, kvHeads: 8 });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path, index) => llamaLayer(path, sizes, { window: isSliding(json, index, true) ? window : Infinity }),
    });
  },
};
