import { noRope } from "../../blocks/rope-scaling.ts";
import { attention, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, isSlidingButEvery, queryKeyNorms, sizesOf, withDefault } from "./common.ts";

/** EXAONE 4: norms behind attention and MLP, and of the heads of q and k; where layers have windows, those without have no rope. */
export const exaone4: Architecture = {
  type: "exaone4",
  title: "EXAONE 4",
  gguf: { name: "exaone4", transformers: "Exaone4ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-5, kvHeads: 32 });
    const window = withDefault(json.sliding_window, 4096);
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes), noRope(sizes.headSize)],
      layer(path, index) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        const slides = isSlidingButEvery(json, index, 4);
        const sight = slides ? { window: window ?? Infinity } : { rope: window === undefined ? 0 : 1 };
        return [
          {
            before: undefined,
            mixer: attention(`${path}.self_attn`, sizes, { ...queryKeyNorms(path, sizes), ...sight }),
            after: norm("post_attention_layernorm"),
          },
          { before: undefined, mixer: gatedMlp(`${path}.mlp`, sizes), after: norm("post_feedforward_layernorm") },
        ];
      },
    });
  },
};
