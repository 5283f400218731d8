import { experts } from "../experts.ts";
import { attention, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, llamaLayer, queryKeyNorms, routingOf, sizesOf, usualLayer } from "./common.ts";
import { RandloraError } from "../../../files/errors.ts";

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
        const norms = json.use_qk_norm === true ? queryKeyNorms(path, sizes) : {};
        const heads = { qkvBias: json.attention_bias ?? false, ...norms };
        if (index < (json.first_k_dense_replace ?? 1)) return llamaLayer(path, sizes, heads);
        const parts = { selection: "gate.e_score_correction_bias", ...shared };
        return usualLayer(path, sizes, heads, experts(path, { ...sizes, inner }, routing, parts));
      },
    });
    // Layers for predicting several tokens at once are behind the others.
    return { ...described, otherParts: new Set([`model.layers.${json.num_hidden_layers}.`]) };
  },
};
