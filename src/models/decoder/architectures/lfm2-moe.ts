import { experts } from "../parts.ts";
import { type Architecture, routingOf } from "./common.ts";
import { describeLfm2, lfm2, lfm2Mlp, lfm2Settings, lfm2Sizes } from "./lfm2.ts";

/** LFM2 with mixtures of experts (8B-A1B) behind its first layers, weighted by the logistic function of their logits. */
export const lfm2Moe: Architecture = {
  type: "lfm2_moe",
  title: "LFM2 MoE",
  gguf: { name: "lfm2moe", transformers: "Lfm2MoeForCausalLM", lastNorm: "token_embd_norm" },
  ...(lfm2.targets && { targets: lfm2.targets }),
  settings: lfm2Settings,
  describe(json) {
    const sizes = lfm2Sizes(json);
    const routing = {
      ...routingOf(json, { count: 32, chosen: 4, amongChosen: json.norm_topk_prob ?? true }),
      logistic: true,
      factor: json.routed_scaling_factor ?? 1,
    };
    const inner = json.moe_intermediate_size ?? 1792;
    const dense = json.num_dense_layers ?? 2;
    const path = "feed_forward";
    const names = { router: "gate.weight", gate: "w1", up: "w3", down: "w2" };
    const selection = (json.use_expert_bias ?? true) ? { selection: "expert_bias" } : {};
    return describeLfm2(json, sizes, (layer, index) =>
      index < dense
        ? lfm2Mlp(layer, sizes)
        : experts(layer, { ...sizes, inner }, routing, { path, names, fused: { path }, ...selection }),
    );
  },
};
