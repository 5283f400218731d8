import { experts, gatedMlp, rmsNorm, attention } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, isSliding, routingsOf, sizesOf, withDefault } from "./common.ts";

/** Qwen 1.5 and 2 with mixtures of experts (A2.7B, 57B-A14B): an expert beside them takes all tokens; some layers may have a plain MLP. */
export const qwen2Moe: Architecture = {
  type: "qwen2_moe",
  title: "Qwen 2 MoE",
  gguf: { name: "qwen2moe", transformers: "Qwen2MoeForCausalLM" },
  // transformers writes 0 where there is no window.
  settings: ({ sliding_window: width, ...json }) => ({ ...json, sliding_window: width === 0 ? null : width }),
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 16 });
    const routings = routingsOf(json, { count: 60, chosen: 4, amongChosen: json.norm_topk_prob ?? false });
    const inner = json.moe_intermediate_size ?? 1408;
    const sharedInner = json.shared_expert_intermediate_size ?? 5632;
    const isWindowed = json.use_sliding_window ?? false;
    const width = (isWindowed ? withDefault(json.sliding_window, 4096) : undefined) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path, index) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        // Every other layer below max_window_layers, as transformers has it.
        const usual = isWindowed && index % 2 === 0 && index < (json.max_window_layers ?? 28);
        const window = isSliding(json, index, usual) ? width : Infinity;
        const routing = routings(index);
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(`${path}.self_attn`, sizes, { qkvBias: json.qkv_bias ?? true, window }),
          },
          {
            before: norm("post_attention_layernorm"),
            mixer: routing
              ? experts(path, { ...sizes, inner }, routing, { sharedInner })
              : gatedMlp(`${path}.mlp`, sizes),
          },
        ];
      },
    });
  },
};
