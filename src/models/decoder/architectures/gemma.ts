import { RandloraError } from "../../../files/errors.ts";
import { attention, type AttentionParts, gatedMlp, rmsNorm } from "../parts.ts";
import { ropeOf, ropesByLayerType } from "../rope-json.ts";
import type { ConfigJson } from "../config-file.ts";
import type { PlannedLayer } from "../config.ts";
import {
  activationNamed,
  type Architecture,
  decoder,
  isSliding,
  isSlidingButEvery,
  type Model,
  type ModelSizes,
  sizesOf,
  withDefault,
} from "./common.ts";

/** Gemma 1: llama with norms that store weight − 1, scaled embeddings and a gated GELU. */
export const gemma: Architecture = {
  type: "gemma",
  title: "Gemma 1",
  gguf: { name: "gemma", transformers: "GemmaForCausalLM" },
  describe(json) {
    const said = json.hidden_activation ?? json.hidden_act ?? "gelu_pytorch_tanh";
    // The first files said "gelu", and meant its approximation.
    const activation = activationNamed(said === "gelu" ? "gelu_pytorch_tanh" : said);
    const sizes = { ...gemmaSizes(json, 8192, 16), activation };
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ...gemmaEnds(sizes),
      ropes: [ropeOf(json, sizes)],
      layer: (path) => [
        {
          before: gemmaNorm(`${path}.input_layernorm`, sizes),
          mixer: attention(`${path}.self_attn`, sizes, { qkvBias: bias, outputBias: bias }),
        },
        {
          before: gemmaNorm(`${path}.post_attention_layernorm`, sizes),
          mixer: gatedMlp(`${path}.mlp`, sizes),
        },
      ],
    });
  },
};

/** Gemma 2: every other layer has a sliding window; attention scores and logits are softly capped. */
export const gemma2: Architecture = {
  type: "gemma2",
  title: "Gemma 2",
  gguf: { name: "gemma2", transformers: "Gemma2ForCausalLM" },
  describe(json) {
    const sizes = gemmaSizes(json, 8192);
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    const softcap = withDefault(json.attn_logit_softcapping, 50);
    return decoder(json, sizes, {
      ...gemmaEnds(sizes),
      ropes: [ropeOf(json, sizes)],
      layer: (path, index) =>
        gemmaLayer(path, json, sizes, { softcap, window: isSliding(json, index, index % 2 === 0) ? window : Infinity }),
      logitSoftcap: withDefault(json.final_logit_softcapping, 30),
    });
  },
};

/** Gemma 3, text: heads of q and k are normalized; five of six layers have a sliding window and a rope of their own. */
export const gemma3Text: Architecture = {
  type: "gemma3_text",
  title: "Gemma 3 (text)",
  gguf: { name: "gemma3", transformers: "Gemma3ForCausalLM" },
  describe(json) {
    const sizes = gemmaSizes(json, 131_072);
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    const thetas = { full: json.rope_theta ?? 1_000_000, sliding: json.rope_local_base_freq ?? 10_000 };
    const { full, sliding } = ropesByLayerType(json, sizes, thetas);
    return decoder(json, sizes, {
      ...gemmaEnds(sizes),
      ropes: [full, sliding],
      layer(path, index) {
        const norm = (name: string) => gemmaNorm(`${path}.self_attn.${name}`, sizes, sizes.headSize);
        const norms = { queryNorm: norm("q_norm"), keyNorm: norm("k_norm") };
        const slides = isSlidingButEvery(json, index, 6);
        return gemmaLayer(path, json, sizes, { ...norms, ...(slides ? { window, rope: 1 } : {}) });
      },
      logitSoftcap: json.final_logit_softcapping ?? undefined,
    });
  },
};

function gemmaSizes(json: ConfigJson, contextLength: number, kvHeads = 4): ModelSizes {
  if (json.use_bidirectional_attention === true) {
    const hint = "it embeds texts (as EmbeddingGemma does); a model that writes them attends backwards only";
    throw new RandloraError("model", "use_bidirectional_attention is not supported", hint);
  }
  const activation = activationNamed(json.hidden_activation ?? "gelu_pytorch_tanh");
  return { ...sizesOf(json, { contextLength, epsilon: 1e-6, headSize: 256, kvHeads }), activation };
}

/** What comes before and after the layers. */
function gemmaEnds(sizes: ModelSizes): Omit<Model, "ropes" | "layer"> {
  return { embeddingScale: Math.sqrt(sizes.hidden), norm: gemmaNorm("model.norm", sizes), tied: true };
}

/** Norms before and after attention and MLP. */
function gemmaLayer(path: string, json: ConfigJson, sizes: ModelSizes, parts: AttentionParts): PlannedLayer {
  const norm = (name: string) => gemmaNorm(`${path}.${name}`, sizes);
  const bias = json.attention_bias ?? false;
  const scale = 1 / Math.sqrt(json.query_pre_attn_scalar ?? 256);
  return [
    {
      before: norm("input_layernorm"),
      mixer: attention(`${path}.self_attn`, sizes, { scale, qkvBias: bias, outputBias: bias, ...parts }),
      after: norm("post_attention_layernorm"),
    },
    {
      before: norm("pre_feedforward_layernorm"),
      mixer: gatedMlp(`${path}.mlp`, sizes),
      after: norm("post_feedforward_layernorm"),
    },
  ];
}

/** Norms store weight − 1. */
function gemmaNorm(name: string, { hidden, epsilon }: ModelSizes, size = hidden) {
  return rmsNorm(name, size, epsilon, 1);
}
