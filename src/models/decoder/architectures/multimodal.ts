import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { isJsonObject } from "../../../files/json.ts";
import { behindEither } from "../../description.ts";
import type { Architecture } from "./common.ts";
import { gemma3Text } from "./gemma.ts";
import { GEMMA4_SIZES, gemma4Text } from "./gemma4.ts";
import { ministral3, mistral } from "./llama.ts";
import { describeQwen3Moe, qwen2, qwen3, QWEN35_TARGETS, qwen35MoeText, qwen35Text } from "./qwen.ts";

/** Settings that the whole file says of its text decoder, whatever its `text_config` says. */
const OF_ALL = ["model_type", "dtype", "torch_dtype", "eos_token_id", "bos_token_id", "tie_word_embeddings"];

/** What the text decoder's names begin with in published files, and in files named as transformers' modules. */
const BODY = ["language_model.model.", "model.language_model."] as const;
const HEAD = ["language_model.lm_head.", "lm_head."] as const;

/** Encoders of images and sounds, and what brings their results to the decoder's width. */
const OTHER_PARTS = ["vision_tower", "audio_tower", "multi_modal_projector", "embed_vision", "embed_audio", "visual"];

/** Gemma 3 as it is published: its text decoder, beside which there is an encoder of images. */
export const gemma3 = textPart(
  {
    type: "gemma3",
    title: "Gemma 3 with images, 4B to 27B (its text)",
    gguf: { name: "gemma3", transformers: "Gemma3ForConditionalGeneration" },
  },
  // transformers caps logits of the text model alone.
  [{ ...gemma3Text, describe: (json) => gemma3Text.describe({ ...json, final_logit_softcapping: undefined }) }],
  { vocab_size: 262_208, hidden_size: 2304, intermediate_size: 9216, num_hidden_layers: 26, num_attention_heads: 8 },
);

/** Gemma 4 as it is published: with encoders of images, and in the small ones of sounds. */
export const gemma4 = textPart(
  {
    type: "gemma4",
    title: "Gemma 4 E2B, E4B, 26B-A4B and 31B (their text)",
    gguf: { name: "gemma4", transformers: "Gemma4ForConditionalGeneration" },
  },
  [gemma4Text],
  GEMMA4_SIZES,
);

/** Mistral Small 3.1 and 3.2, and Ministral 3: with an encoder of images. */
export const mistral3 = textPart(
  {
    type: "mistral3",
    title: "Mistral Small 3.1 and 3.2, Ministral 3 with images (their text)",
    gguf: { name: "mistral3", transformers: "Mistral3ForConditionalGeneration", pairs: true },
  },
  [mistral, ministral3],
  { vocab_size: 32_000, hidden_size: 4096, intermediate_size: 14_336, num_hidden_layers: 32, num_attention_heads: 32 },
);

/** Qwen 3.5, dense, as it is published: with an encoder of images and videos. */
export const qwen35 = textPart(
  {
    type: "qwen3_5",
    title: "Qwen 3.5, dense (its text)",
    targets: QWEN35_TARGETS,
    gguf: { name: "qwen35", transformers: "Qwen3_5ForConditionalGeneration", mlpNorm: "post_attention_norm" },
  },
  [qwen35Text],
  {
    tie_word_embeddings: false,
    vocab_size: 248_320,
    hidden_size: 4096,
    intermediate_size: 12_288,
    num_hidden_layers: 32,
    num_attention_heads: 16,
  },
);

/** Qwen 3.5 with mixtures of experts as it is published. */
export const qwen35Moe = textPart(
  { type: "qwen3_5_moe", title: "Qwen 3.5 MoE (its text)", targets: QWEN35_TARGETS },
  [qwen35MoeText],
  {
    tie_word_embeddings: false,
    vocab_size: 248_320,
    hidden_size: 2048,
    // Of no layer: all have experts.
    intermediate_size: 512,
    num_hidden_layers: 40,
    num_attention_heads: 16,
  },
);

/** Qwen 3 with an encoder of images and videos. */
export const qwen3Vl = textPart(
  { type: "qwen3_vl", title: "Qwen3-VL, dense (its text)" },
  [{ ...qwen3, type: "qwen3_vl_text" }],
  {
    tie_word_embeddings: false,
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 128_000,
    rope_theta: 500_000,
  },
);

/** Qwen 3 with mixtures of experts and an encoder of images and videos: experts are transposed as published, and not as transformers 5 saves them. */
export const qwen3VlMoe = textPart(
  { type: "qwen3_vl_moe", title: "Qwen3-VL MoE (its text)" },
  [
    {
      type: "qwen3_vl_moe_text",
      title: "Qwen3-VL MoE (its text)",
      describe(json) {
        const num_experts = json.num_experts ?? json.num_local_experts ?? 60;
        // Whatever config.json says: transformers does not read these of this type.
        const whole = { ...json, num_experts, norm_topk_prob: true, use_sliding_window: false };
        return { ...describeQwen3Moe(whole, { transposed: true }), otherLayers: describeQwen3Moe(whole).layers };
      },
    },
  ],
  {
    tie_word_embeddings: false,
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    num_experts_per_tok: 4,
    moe_intermediate_size: 1408,
    max_position_embeddings: 128_000,
    rope_theta: 500_000,
  },
);

/** What Qwen 2's names begin with beside an encoder of images: published files have them as if there were none. */
const BARE = ["model.", "model.language_model."] as const;

const QWEN25_VL = {
  tie_word_embeddings: false,
  vocab_size: 152_064,
  hidden_size: 8192,
  intermediate_size: 29_568,
  num_hidden_layers: 80,
  num_attention_heads: 64,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_theta: 1_000_000,
};

/** Qwen 2 with an encoder of images and videos. */
export const qwen2Vl = textPart(
  { type: "qwen2_vl", title: "Qwen2-VL (its text)" },
  [{ ...qwen2, type: "qwen2_vl_text" }],
  QWEN25_VL,
  BARE,
);

/** Qwen 2.5 with an encoder of images and videos. */
export const qwen25Vl = textPart(
  { type: "qwen2_5_vl", title: "Qwen2.5-VL (its text)" },
  [{ ...qwen2, type: "qwen2_5_vl_text" }],
  QWEN25_VL,
  BARE,
);

/**
 * The text decoder of a model of several parts, whose config.json has the decoder's settings as `text_config`. Targets mean its
 * modules alone, and are written one by one where the same words mean others in PEFT. Tensors of other parts are kept by `merge` and
 * `full`; an adapter of them is merged into files, and left out where the model runs.
 * @param texts what the decoder may be, first what it is where nothing is said
 * @param defaults what settings are where they are left out
 * @param body what the decoder's names begin with in either kind of file
 */
function textPart(
  model: Omit<Architecture, "settings" | "describe">,
  texts: readonly [Architecture, ...Architecture[]],
  defaults: object,
  body: typeof BODY | typeof BARE = BODY,
): Architecture {
  const nameIn = (name: string, kind: 0 | 1): string => {
    const head = body === BODY ? HEAD[kind] : "lm_head.";
    return name.replace(/^model\./, body[kind]).replace(/^lm_head\./, head);
  };
  return {
    ...model,
    settings(json) {
      const text = isJsonObject(json["text_config"]) ? json["text_config"] : {};
      const said = OF_ALL.flatMap((name) => ((json[name] ?? undefined) === undefined ? [] : [[name, json[name]]]));
      return { tie_word_embeddings: true, ...defaults, ...json, ...text, ...Object.fromEntries(said) };
    },
    describe(json) {
      const type = json.text_config?.model_type ?? texts[0].type;
      const decoder = texts.find((one) => one.type === type);
      if (decoder === undefined) {
        const hint = `supported: ${texts.map((one) => one.type).join(", ")}`;
        throw new RandloraError("model", `a text decoder of type ${quote(type)} is not supported`, hint);
      }
      const text = behindEither(decoder.describe({ ...json, tie_word_embeddings: false }), nameIn);
      const unread = [...text.otherParts].flatMap((name) => [nameIn(name, 0), nameIn(name, 1)]);
      const otherParts = new Set([...unread, ...OTHER_PARTS.flatMap((part) => [`${part}.`, `model.${part}.`])]);
      // Tied by config.json or not: transformers takes an output matrix that is there.
      const { head } = text;
      const whole = { ...text, otherParts };
      return json.tie_word_embeddings === true ? { ...whole, head: undefined, headWhereStored: head } : whole;
    },
  };
}
