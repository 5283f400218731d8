import type { ConfigJson } from "../config-file.ts";
import type { PlannedLayer } from "../config.ts";
import { attention, type AttentionParts, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, type ModelSizes, sizesOf } from "./common.ts";

/** OLMo 2: norms behind attention and MLP instead of before them, and of q and k over all heads of a token. */
export const olmo2: Architecture = {
  type: "olmo2",
  title: "OLMo 2",
  gguf: { name: "olmo2", transformers: "Olmo2ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-5 });
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => olmoLayer(path, json, sizes),
    });
  },
};

/** x + norm(attention(x)), then x + norm(mlp(x)). @param parts of attention */
export function olmoLayer(path: string, json: ConfigJson, sizes: ModelSizes, parts: AttentionParts = {}): PlannedLayer {
  const { hidden, epsilon, heads, kvHeads, headSize } = sizes;
  const norm = (name: string, size = hidden) => rmsNorm(`${path}.${name}`, size, epsilon);
  const bias = json.attention_bias ?? false;
  const norms = {
    queryNorm: norm("self_attn.q_norm", heads * headSize),
    keyNorm: norm("self_attn.k_norm", kvHeads * headSize),
  };
  return [
    {
      before: undefined,
      mixer: attention(`${path}.self_attn`, sizes, { ...norms, qkvBias: bias, outputBias: bias, ...parts }),
      after: norm("post_attention_layernorm"),
    },
    { before: undefined, mixer: gatedMlp(`${path}.mlp`, sizes), after: norm("post_feedforward_layernorm") },
  ];
}
