import { rmsNorm, attention, experts } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, routingOf, sizesOf } from "./common.ts";

/** Mixtral 8x7B and 8x22B: Mistral's layer with a mixture of experts in the place of its MLP. */
export const mixtral: Architecture = {
  type: "mixtral",
  title: "Mixtral",
  gguf: { name: "llama", transformers: "MixtralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-5, kvHeads: 8 });
    const routing = routingOf(json, { count: 8, chosen: 2, amongChosen: true });
    const window = json.sliding_window ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, theta: 1e6 })],
      layer(path) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        const names = { router: "gate.weight", gate: "w1", up: "w3", down: "w2" };
        return [
          { before: norm("input_layernorm"), mixer: attention(`${path}.self_attn`, sizes, { window }) },
          {
            before: norm("post_attention_layernorm"),
            mixer: experts(path, sizes, routing, { path: "block_sparse_moe", names }),
          },
        ];
      },
    });
  },
};
