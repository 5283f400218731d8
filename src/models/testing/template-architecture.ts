// A template for an architecture: copy it to `src/models/decoder/architectures/NAME.ts`, change what it says, and list it in
// `index.ts` there. `parts.ts` has norms, attention and MLPs; `llamaLayer` is the layer below for those that change nothing in it.
import { type Architecture, decoder, sizesOf, withDefault } from "../decoder/architectures/common.ts";
import { ARCHITECTURES, SUPPORTED_TYPES } from "../decoder/architectures/index.ts";
import { attention, gatedMlp, rmsNorm } from "../decoder/parts.ts";
import { ropeOf } from "../decoder/rope-json.ts";

/** Llama with a sliding window in every layer. */
export const template: Architecture = {
  type: "template",
  title: "The template",
  describe(json) {
    // What it means where config.json is silent: transformers' configuration_NAME.py says it.
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-6 });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        // x + attention(norm(x)), then x + mlp(norm(x)): weights by their names, what is adapted among them.
        return [
          { before: norm("input_layernorm"), mixer: attention(`${path}.self_attn`, sizes, { window }) },
          { before: norm("post_attention_layernorm"), mixer: gatedMlp(`${path}.mlp`, sizes) },
        ];
      },
    });
  },
};

/** Makes an architecture one of the program's, as its entry of the list would, until it is disposed. */
export function registered(architecture: Architecture): Disposable {
  const [all, types] = [ARCHITECTURES as Architecture[], SUPPORTED_TYPES as string[]];
  all.push(architecture);
  types.push(architecture.type);
  return {
    [Symbol.dispose]() {
      all.splice(all.indexOf(architecture), 1);
      types.splice(types.indexOf(architecture.type), 1);
    },
  };
}
