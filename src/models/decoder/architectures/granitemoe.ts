import { attention, experts, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, routingOf, sizesOf } from "./common.ts";

/** Granite 3 with mixtures of experts (1B-A400M, 3B-A800M), which lie in one tensor: Granite's multipliers beside them. */
export const granitemoe: Architecture = {
  type: "granitemoe",
  title: "Granite 3 MoE",
  gguf: { name: "granitemoe", transformers: "GraniteMoeForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-6 });
    const routing = routingOf(json, { count: 8, chosen: 2, amongChosen: true });
    const bias = json.attention_bias ?? false;
    const heads = { scale: json.attention_multiplier ?? 1, qkvBias: bias, outputBias: bias };
    const factor = json.residual_multiplier ?? 1;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      embeddingScale: json.embedding_multiplier ?? 1,
      layer(path) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        const names = {
          router: "router.layer.weight",
          gateUp: "input_linear.weight",
          down: "output_linear.weight",
        };
        const fused = { path: "block_sparse_moe", router: "router.weight" };
        return [
          { before: norm("input_layernorm"), mixer: attention(`${path}.self_attn`, sizes, heads), factor },
          {
            before: norm("post_attention_layernorm"),
            mixer: experts(path, sizes, routing, { path: "block_sparse_moe", names, fused }),
            factor,
          },
        ];
      },
      logitScale: 1 / (json.logits_scaling ?? 1),
    });
  },
};
