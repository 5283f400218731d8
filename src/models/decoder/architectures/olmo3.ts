import { ropesByLayerType } from "../rope-json.ts";
import { type Architecture, decoder, isSliding, sizesOf, withDefault } from "./common.ts";
import { olmoLayer } from "./olmo2.ts";

/** OLMo 3: OLMo 2, three of whose four layers have a sliding window, and a rope that is not scaled. */
export const olmo3: Architecture = {
  type: "olmo3",
  title: "OLMo 3",
  gguf: { name: "olmo2", transformers: "Olmo3ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-5 });
    const theta = json.rope_theta ?? 500_000;
    const { full, sliding } = ropesByLayerType(json, sizes, { full: theta, sliding: theta });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [full, sliding],
      layer: (path, index) =>
        olmoLayer(path, json, sizes, isSliding(json, index, (index + 1) % 4 !== 0) ? { window, rope: 1 } : {}),
    });
  },
};
