import { attention, experts, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, routingsOf, sizesOf, withDefault } from "./common.ts";

/** Qwen 3 with mixtures of experts (30B-A3B, 235B-A22B): heads of q and k are normalized; some layers may have a plain MLP. */
export const qwen3Moe: Architecture = {
  type: "qwen3_moe",
  title: "Qwen 3 MoE",
  gguf: { name: "qwen3moe", transformers: "Qwen3MoeForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 4 });
    const amongChosen = json.norm_topk_prob ?? false;
    const routings = routingsOf(json, { count: 128, chosen: 8, amongChosen });
    const inner = json.moe_intermediate_size ?? 768;
    const window = (json.use_sliding_window === true ? withDefault(json.sliding_window, 4096) : undefined) ?? Infinity;
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path, index) {
        const norm = (name: string, size = sizes.hidden) => rmsNorm(`${path}.${name}`, size, sizes.epsilon);
        const norms = {
          queryNorm: norm("self_attn.q_norm", sizes.headSize),
          keyNorm: norm("self_attn.k_norm", sizes.headSize),
        };
        const routing = routings(index);
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(`${path}.self_attn`, sizes, { qkvBias: bias, outputBias: bias, window, ...norms }),
          },
          {
            before: norm("post_attention_layernorm"),
            mixer: routing ? experts(path, { ...sizes, inner }, routing) : gatedMlp(`${path}.mlp`, sizes),
          },
        ];
      },
    });
  },
};
