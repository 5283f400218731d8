import { attention, gatedMlp, layerNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { noRope } from "../../blocks/rope-scaling.ts";
import { type Architecture, decoder, isSlidingButEvery, sizesOf, withDefault } from "./common.ts";
import { RandloraError } from "../../../files/errors.ts";

/** Cohere 2 (Command R7B, Command A): attention and MLP read one norm; three of four layers have a window, and only what has one a rope. */
export const cohere2: Architecture = {
  type: "cohere2",
  title: "Command R7B and Command A",
  gguf: { name: "cohere2", transformers: "Cohere2ForCausalLM" },
  describe(json) {
    const epsilon = json.layer_norm_eps ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 8192, epsilon });
    const window = withDefault(json.sliding_window, 4096);
    const bias = json.attention_bias ?? false;
    const norm = (name: string) => layerNorm(name, sizes.hidden, epsilon, false);
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes), noRope(sizes.headSize)],
      layer(path, index) {
        const before = norm(`${path}.input_layernorm`);
        const slides = isSlidingButEvery(json, index, 4) && window !== undefined;
        const sight = slides ? { window } : { rope: 1 };
        const parts = { neighbors: true, qkvBias: bias, outputBias: bias, ...sight };
        return [
          { before, mixer: attention(`${path}.self_attn`, sizes, parts) },
          { before, mixer: gatedMlp(`${path}.mlp`, sizes), parallel: true },
        ];
      },
      norm: norm("model.norm"),
      logitScale: json.logit_scale ?? 0.0625,
      tied: true,
    });
  },
};

/** Cohere (Command R): as Cohere 2, with a rope and all tokens in each layer. */
export const cohere: Architecture = {
  type: "cohere",
  title: "Command R",
  describe(json) {
    if (json.use_qk_norm === true) {
      throw new RandloraError(
        "model",
        "use_qk_norm (Command R+) is not supported: each of its heads has weights of its own",
      );
    }
    // Cohere 2 turns what has a window.
    const layer_types = Array.from({ length: json.num_hidden_layers }, () => "sliding_attention");
    const all = { ...json, layer_types, sliding_window: Infinity, rope_theta: json.rope_theta ?? 500_000 };
    return cohere2.describe(all);
  },
};
