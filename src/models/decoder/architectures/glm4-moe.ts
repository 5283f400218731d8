import { RandloraError } from "../../../files/errors.ts";
import { attention, experts, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, routingOf, sizesOf } from "./common.ts";

/** GLM-4.5 and 4.6: experts behind the first layers, weighted by the logistic function of their logits, and one that takes all tokens. */
export const glm4Moe: Architecture = {
  type: "glm4_moe",
  title: "GLM-4.5 and 4.6",
  settings: ({ n_routed_experts: count, ...json }) => ({ num_local_experts: count, ...json }),
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-5, kvHeads: 8 });
    if ((json.n_group ?? 1) !== 1) throw new RandloraError("model", "groups of experts (n_group) are not supported");
    const routing = {
      ...routingOf(json, { count: 128, chosen: 8, amongChosen: json.norm_topk_prob ?? true }),
      logistic: true,
      factor: json.routed_scaling_factor ?? 1,
    };
    const inner = json.moe_intermediate_size ?? 1408;
    const sharedInner = inner * (json.n_shared_experts ?? 1);
    const shared = { sharedInner, sharedPath: "shared_experts", sharedGate: false };
    const turned = { ...json, partial_rotary_factor: json.partial_rotary_factor ?? 0.5 };
    const described = decoder(json, sizes, {
      ropes: [ropeOf(turned, { ...sizes, partial: true })],
      layer(path, index) {
        const norm = (name: string, size = sizes.hidden) => rmsNorm(`${path}.${name}`, size, sizes.epsilon);
        const ofHeads = (name: string) => norm(`self_attn.${name}`, sizes.headSize);
        const norms = json.use_qk_norm === true ? { queryNorm: ofHeads("q_norm"), keyNorm: ofHeads("k_norm") } : {};
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(`${path}.self_attn`, sizes, { qkvBias: json.attention_bias ?? false, ...norms }),
          },
          {
            before: norm("post_attention_layernorm"),
            mixer:
              index < (json.first_k_dense_replace ?? 1)
                ? gatedMlp(`${path}.mlp`, sizes)
                : experts(path, { ...sizes, inner }, routing, { selection: "gate.e_score_correction_bias", ...shared }),
          },
        ];
      },
    });
    // Layers for predicting several tokens at once are behind the others.
    return { ...described, otherParts: new Set([`model.layers.${json.num_hidden_layers}.`]) };
  },
};
