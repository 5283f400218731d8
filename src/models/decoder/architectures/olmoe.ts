import { RandloraError } from "../../../files/errors.ts";
import { attention, experts, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, routingOf, sizesOf } from "./common.ts";

/** OLMoE 1B-7B: a mixture of experts in every layer, norms of q and k over all heads of a token. */
export const olmoe: Architecture = {
  type: "olmoe",
  title: "OLMoE",
  gguf: { name: "olmoe", transformers: "OlmoeForCausalLM" },
  describe(json) {
    if ((json.clip_qkv ?? undefined) !== undefined)
      throw new RandloraError("model", "clip_qkv is not supported", "this model cannot be run");
    const sizes = sizesOf(json, { contextLength: 4096, epsilon: 1e-5 });
    const { hidden, epsilon, heads, kvHeads, headSize } = sizes;
    const amongChosen = json.norm_topk_prob ?? false;
    const routing = routingOf(json, { count: 64, chosen: 8, amongChosen });
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path) {
        const norm = (name: string, size = hidden) => rmsNorm(`${path}.${name}`, size, epsilon);
        const norms = {
          queryNorm: norm("self_attn.q_norm", heads * headSize),
          keyNorm: norm("self_attn.k_norm", kvHeads * headSize),
        };
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(`${path}.self_attn`, sizes, { qkvBias: bias, outputBias: bias, ...norms }),
          },
          { before: norm("post_attention_layernorm"), mixer: experts(path, sizes, routing) },
        ];
      },
    });
  },
};
