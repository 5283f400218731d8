import type { ConfigJson } from "../config-file.ts";
import type { PlannedLayer } from "../config.ts";
import { experts } from "../experts.ts";
import { attention, type AttentionParts, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf, ropesByLayerType } from "../rope-json.ts";
import {
  type Architecture,
  decoder,
  isSliding,
  isSlidingButEvery,
  type ModelSizes,
  queryKeyNorms,
  routingOf,
  sizesOf,
  usualLayer,
  withDefault,
} from "./common.ts";
import { RandloraError } from "../../../files/errors.ts";
import { noRope } from "../../blocks/rope.ts";

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
function olmoLayer(path: string, json: ConfigJson, sizes: ModelSizes, parts: AttentionParts = {}): PlannedLayer {
  const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
  const bias = json.attention_bias ?? false;
  const norms = wideNorms(path, sizes);
  return [
    {
      before: undefined,
      mixer: attention(`${path}.self_attn`, sizes, { ...norms, qkvBias: bias, outputBias: bias, ...parts }),
      after: norm("post_attention_layernorm"),
    },
    { before: undefined, mixer: gatedMlp(`${path}.mlp`, sizes), after: norm("post_feedforward_layernorm") },
  ];
}

/** Of q and k over all heads of a token. */
function wideNorms(path: string, sizes: ModelSizes) {
  const { heads, kvHeads, headSize } = sizes;
  return queryKeyNorms(path, sizes, [heads * headSize, kvHeads * headSize]);
}

/** OLMo 3: OLMo 2, three of whose four layers have a sliding window, and a rope that is not scaled. */
export const olmo3: Architecture = {
  type: "olmo3",
  title: "OLMo 3",
  gguf: { name: "olmo2", transformers: "Olmo3ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-5 });
    const theta = json.rope_theta ?? 500_000;
    const { full, sliding } = ropesByLayerType(json, sizes, { full: theta, sliding: theta });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [full, sliding],
      layer: (path, index) =>
        olmoLayer(path, json, sizes, isSliding(json, index, (index + 1) % 4 !== 0) ? { window, rope: 1 } : {}),
    });
  },
};

/** OLMoE 1B-7B: a mixture of experts in every layer, norms of q and k over all heads of a token. */
export const olmoe: Architecture = {
  type: "olmoe",
  title: "OLMoE",
  gguf: { name: "olmoe", transformers: "OlmoeForCausalLM" },
  describe(json) {
    if ((json.clip_qkv ?? undefined) !== undefined)
      throw new RandloraError("model", "clip_qkv is not supported", "this model cannot be run");
    const sizes = sizesOf(json, { contextLength: 4096, epsilon: 1e-5 });
    const amongChosen = json.norm_topk_prob ?? false;
    const routing = routingOf(json, { count: 64, chosen: 8, amongChosen });
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer(path) {
        const heads = { qkvBias: bias, outputBias: bias, ...wideNorms(path, sizes) };
        return usualLayer(path, sizes, heads, experts(path, sizes, routing));
      },
    });
  },
};

/** EXAONE 4: norms behind attention and MLP, and of the heads of q and k; where layers have windows, those without have no rope. */
export const exaone4: Architecture = {
  type: "exaone4",
  title: "EXAONE 4",
  gguf: { name: "exaone4", transformers: "Exaone4ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-5, kvHeads: 32 });
    const window = withDefault(json.sliding_window, 4096);
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes), noRope(sizes.headSize)],
      layer(path, index) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        const slides = isSlidingButEvery(json, index, 4);
        const sight = slides ? { window: window ?? Infinity } : { rope: window === undefined ? 0 : 1 };
        return [
          {
            before: undefined,
            mixer: attention(`${path}.self_attn`, sizes, { ...queryKeyNorms(path, sizes), ...sight }),
            after: norm("post_attention_layernorm"),
          },
          { before: undefined, mixer: gatedMlp(`${path}.mlp`, sizes), after: norm("post_feedforward_layernorm") },
        ];
      },
    });
  },
};
