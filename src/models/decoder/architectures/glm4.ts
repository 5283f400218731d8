import { attention, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, sizesOf } from "./common.ts";

/** GLM-4: norms before and behind attention and MLP; half of each head turns, elements with their neighbors. */
export const glm4: Architecture = {
  type: "glm4",
  title: "GLM-4",
  gguf: { name: "glm4", transformers: "Glm4ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1.5625e-7, kvHeads: 2, headSize: 128 });
    const turned = { ...json, partial_rotary_factor: json.partial_rotary_factor ?? 0.5 };
    return decoder(json, sizes, {
      ropes: [ropeOf(turned, { ...sizes, partial: true })],
      layer(path) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        const qkvBias = json.attention_bias ?? true;
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(`${path}.self_attn`, sizes, { neighbors: true, qkvBias }),
            after: norm("post_self_attn_layernorm"),
          },
          {
            before: norm("post_attention_layernorm"),
            mixer: gatedMlp(`${path}.mlp`, sizes, { names: ["gate_up_proj"] }),
            after: norm("post_mlp_layernorm"),
          },
        ];
      },
    });
  },
};
