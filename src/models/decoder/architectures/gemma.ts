import { RandloraError } from "../../../files/errors.ts";
import { ropeOf, ropesByLayerType } from "../rope-json.ts";
import type { ConfigJson } from "../config-file.ts";
import type { DecoderConfig } from "../config.ts";
import { activationNamed, type Architecture, mixedLayers, plainDecoder, withDefault, withRopes } from "./common.ts";

/** What Gemma 2 and 3 share: norms that store weight − 1, also after attention and MLP; scaled embeddings; GeGLU. */
function gemma(json: ConfigJson, contextLength: number): DecoderConfig {
  const bias = json.attention_bias ?? false;
  if (json.use_bidirectional_attention === true) {
    const hint = "it embeds texts (as EmbeddingGemma does); a model that writes them attends backwards only";
    throw new RandloraError("model", "use_bidirectional_attention is not supported", hint);
  }
  return {
    ...plainDecoder(json, { contextLength, epsilon: 1e-6, headSize: 256, kvHeads: 4, tied: true }),
    normOffset: 1,
    activation: activationNamed(json.hidden_activation ?? "gelu_pytorch_tanh"),
    embeddingScale: Math.sqrt(json.hidden_size),
    attentionScale: 1 / Math.sqrt(json.query_pre_attn_scalar ?? 256),
    logitSoftcap: json.final_logit_softcapping ?? undefined,
    postNorms: true,
    qkvBias: bias,
    outputBias: bias,
  };
}

/** Gemma 2: every other layer has a sliding window; attention scores and logits are softly capped. */
export const gemma2: Architecture = {
  type: "gemma2",
  describe(json) {
    const config = gemma(json, 8192);
    const { headSize, contextLength } = config;
    return {
      ...withRopes(config, [ropeOf(json, { headSize, contextLength })]),
      layers: mixedLayers(json, withDefault(json.sliding_window, 4096), (layer) => layer % 2 === 0),
      attentionSoftcap: withDefault(json.attn_logit_softcapping, 50),
      logitSoftcap: withDefault(json.final_logit_softcapping, 30),
    };
  },
};

/** Gemma 3, text: heads of q and k are normalized; five of six layers have a sliding window and a rope of their own. */
export const gemma3: Architecture = {
  type: "gemma3_text",
  describe(json) {
    const config = gemma(json, 131_072);
    const { headSize, contextLength } = config;
    const { full, sliding } = ropesByLayerType(json, { headSize, contextLength });
    const period = json.sliding_window_pattern ?? 6;
    return {
      ...withRopes(config, [full, sliding]),
      layers: mixedLayers(json, withDefault(json.sliding_window, 4096), (layer) => (layer + 1) % period !== 0, 1),
      queryKeyNorm: true,
    };
  },
};
