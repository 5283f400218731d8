import { attention, layerNorm, plainMlp } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, sizesOf } from "./common.ts";

/** StarCoder 2: norms by mean and variance, an MLP without a gate, and biases everywhere unless `use_bias` is off. */
export const starcoder2: Architecture = {
  type: "starcoder2",
  title: "StarCoder 2",
  gguf: { name: "starcoder2", transformers: "Starcoder2ForCausalLM" },
  describe(json) {
    const epsilon = json.norm_epsilon ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 4096, epsilon, kvHeads: 2, activation: "gelu_pytorch_tanh" });
    const bias = json.use_bias ?? true;
    const norm = (name: string) => layerNorm(name, sizes.hidden, epsilon);
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => [
        {
          before: norm(`${path}.input_layernorm`),
          mixer: attention(`${path}.self_attn`, sizes, {
            window: json.sliding_window ?? Infinity,
            qkvBias: bias,
            outputBias: bias,
          }),
        },
        {
          before: norm(`${path}.post_attention_layernorm`),
          mixer: plainMlp(`${path}.mlp`, sizes, ["c_fc", "c_proj"], bias),
        },
      ],
      norm: norm("model.norm"),
      tied: true,
    });
  },
};
