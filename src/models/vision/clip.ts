import * as v from "valibot";
import { MOST_LAYERS, Size as Count } from "../decoder/config-file.ts";
import {
  checkImages,
  encoderOf,
  HEAD_WEIGHT,
  headOf,
  type ImageConfig,
  LABELS_JSON,
  SizeJson,
  sizeOf,
  type Tensors,
} from "./config.ts";
import type { EncoderConfig } from "./encoder.ts";
import { gridOf } from "./patches.ts";
import type { TextConfig } from "./text-tower.ts";
import type { VisionConfig } from "./vision-plan.ts";

const Layers = v.pipe(Count, v.maxValue(MOST_LAYERS));
const Epsilon = v.optional(v.pipe(v.number(), v.gtValue(0)), 1e-5);

/** transformers' CLIPTextConfig, with its defaults. */
const TextJson = v.looseObject({
  vocab_size: v.optional(Count, 49_408),
  hidden_size: v.optional(Count, 512),
  intermediate_size: v.optional(Count, 2048),
  num_hidden_layers: v.optional(Layers, 12),
  num_attention_heads: v.optional(Count, 8),
  max_position_embeddings: v.optional(Count, 77),
  hidden_act: v.optional(v.string(), "quick_gelu"),
  layer_norm_eps: Epsilon,
  eos_token_id: v.optional(v.number(), 49_407),
});

/** transformers' CLIPVisionConfig, with its defaults. */
const VisionJson = v.looseObject({
  hidden_size: v.optional(Count, 768),
  intermediate_size: v.optional(Count, 3072),
  num_hidden_layers: v.optional(Layers, 12),
  num_attention_heads: v.optional(Count, 12),
  num_channels: v.optional(Count, 3),
  image_size: v.optional(Count, 224),
  patch_size: v.optional(Count, 32),
  hidden_act: v.optional(v.string(), "quick_gelu"),
  layer_norm_eps: Epsilon,
});

/** transformers' CLIPConfig. Where the old `…_dict` is there, it and the defaults take the place of the other. */
export const ClipJson = v.looseObject({
  model_type: v.literal("clip"),
  projection_dim: v.optional(Count, 512),
  text_config: v.nullish(TextJson),
  vision_config: v.nullish(VisionJson),
  text_config_dict: v.nullish(TextJson),
  vision_config_dict: v.nullish(VisionJson),
  ...LABELS_JSON,
});

/**
 * CLIP (arXiv:2103.00020) as transformers' CLIPModel and CLIPForImageClassification have it.
 * @throws RandloraError `model` for a setting that is not supported
 */
export function describeClip(json: v.InferOutput<typeof ClipJson>, tensors: Tensors): ImageConfig {
  const vision = describeVision(json.vision_config_dict ?? json.vision_config ?? v.parse(VisionJson, {}));
  const text = describeText(json.text_config_dict ?? json.text_config ?? v.parse(TextJson, {}));
  const head = headOf(tensors, vision.encoder.width, json.id2label);
  const size = json.projection_dim;
  const whole = {
    text,
    projections: {
      vision: ["visual_projection.weight", [size, vision.encoder.width]],
      text: ["text_projection.weight", [size, text.encoder.width]],
      logitScale: ["logit_scale", []],
    },
  } as const;
  // CLIPForImageClassification saves its encoder of images alone; a merged head may stand beside the whole model.
  const isPart = tensors.has(HEAD_WEIGHT) && !tensors.has("text_projection.weight");
  const parts = isPart ? { text: undefined, projections: undefined } : whole;
  const isSuperfluous = (name: string) => name.endsWith(".embeddings.position_ids") || name === HEAD_WEIGHT;
  return { architecture: json.model_type, vision, ...parts, ...head, isSuperfluous };
}

function describeVision(json: v.InferOutput<typeof VisionJson>): VisionConfig {
  const [image, patch] = [sizeOf(json.image_size), sizeOf(json.patch_size)];
  checkImages(image, patch, json.num_channels);
  const prefix = "vision_model.";
  const encoder = describeEncoder(json, prefix);
  const [rows, cols] = gridOf(image, patch);
  return {
    encoder,
    image,
    patch,
    features: ["mean of patches"],
    names: {
      classToken: [`${prefix}embeddings.class_embedding`, [encoder.width]],
      positions: [`${prefix}embeddings.position_embedding.weight`, [1 + rows * cols, encoder.width]],
      patches: `${prefix}embeddings.patch_embedding`,
      patchBias: false,
      firstNorm: `${prefix}pre_layrnorm`, // sic
      lastNorm: `${prefix}post_layernorm`,
      lastNormOf: "class token",
    },
  };
}

function describeText(json: v.InferOutput<typeof TextJson>): TextConfig {
  const prefix = "text_model.";
  return {
    encoder: describeEncoder(json, prefix),
    vocabularySize: json.vocab_size,
    contextLength: json.max_position_embeddings,
    endToken: json.eos_token_id,
    prefix,
  };
}

type EncoderJson = Pick<
  v.InferOutput<typeof TextJson>,
  "num_hidden_layers" | "hidden_size" | "num_attention_heads" | "intermediate_size" | "layer_norm_eps" | "hidden_act"
>;

function describeEncoder(json: EncoderJson, prefix: string): EncoderConfig {
  const sizes = {
    layers: json.num_hidden_layers,
    width: json.hidden_size,
    heads: json.num_attention_heads,
    inner: json.intermediate_size,
    epsilon: json.layer_norm_eps,
    qkvBias: true,
    names: {
      layer: (index: number) => `${prefix}encoder.layers.${index}`,
      attentionNorm: "layer_norm1",
      query: "self_attn.q_proj",
      key: "self_attn.k_proj",
      value: "self_attn.v_proj",
      output: "self_attn.out_proj",
      mlpNorm: "layer_norm2",
      up: "mlp.fc1",
      gated: false,
      down: "mlp.fc2",
      scales: undefined,
    },
  };
  return encoderOf(sizes, json.hidden_act);
}

/** transformers' Dinov2Config, with its defaults. */
export const Dinov2Json = v.looseObject({
  model_type: v.literal("dinov2"),
  hidden_size: v.optional(Count, 768),
  num_hidden_layers: v.optional(v.pipe(Count, v.maxValue(MOST_LAYERS)), 12),
  num_attention_heads: v.optional(Count, 12),
  mlp_ratio: v.optional(v.pipe(v.number(), v.gtValue(0)), 4),
  hidden_act: v.optional(v.string(), "gelu"),
  layer_norm_eps: v.optional(v.pipe(v.number(), v.gtValue(0)), 1e-6),
  image_size: v.optional(SizeJson, 224),
  patch_size: v.optional(SizeJson, 14),
  num_channels: v.optional(Count, 3),
  qkv_bias: v.optional(v.boolean(), true),
  use_swiglu_ffn: v.optional(v.boolean(), false),
  ...LABELS_JSON,
});

/**
 * DINOv2 (arXiv:2304.07193) as transformers' Dinov2Model and Dinov2ForImageClassification have it.
 * @throws RandloraError `model` for a setting that is not supported
 */
export function describeDinov2(json: v.InferOutput<typeof Dinov2Json>, tensors: Tensors): ImageConfig {
  const [image, patch] = [sizeOf(json.image_size), sizeOf(json.patch_size)];
  checkImages(image, patch, json.num_channels);
  // Dinov2ForImageClassification holds the model as one of its parts.
  const prefix = tensors.has("dinov2.embeddings.cls_token") ? "dinov2." : "";
  const { hidden_size: width, use_swiglu_ffn: gated } = json;
  const [rows, cols] = gridOf(image, patch);
  const encoder = encoderOf(
    {
      layers: json.num_hidden_layers,
      width,
      heads: json.num_attention_heads,
      inner: gated ? gatedSize(width * json.mlp_ratio) : Math.floor(width * json.mlp_ratio),
      epsilon: json.layer_norm_eps,
      qkvBias: json.qkv_bias,
      names: {
        layer: (index) => `${prefix}encoder.layer.${index}`,
        attentionNorm: "norm1",
        query: "attention.attention.query",
        key: "attention.attention.key",
        value: "attention.attention.value",
        output: "attention.output.dense",
        mlpNorm: "norm2",
        up: gated ? "mlp.weights_in" : "mlp.fc1",
        gated,
        down: gated ? "mlp.weights_out" : "mlp.fc2",
        scales: ["layer_scale1.lambda1", "layer_scale2.lambda1"],
      },
    },
    gated ? "silu" : json.hidden_act,
  );
  return {
    architecture: json.model_type,
    vision: {
      encoder,
      image,
      patch,
      features: ["class token", "mean of patches"],
      names: {
        classToken: [`${prefix}embeddings.cls_token`, [1, 1, width]],
        positions: [`${prefix}embeddings.position_embeddings`, [1, 1 + rows * cols, width]],
        patches: `${prefix}embeddings.patch_embeddings.projection`,
        patchBias: true,
        firstNorm: undefined,
        lastNorm: `${prefix}layernorm`,
        lastNormOf: "all",
      },
    },
    text: undefined,
    projections: undefined,
    ...headOf(tensors, 2 * width, json.id2label),
    // The token is of images whose patches are hidden, in pre-training.
    isSuperfluous: (name) => name === `${prefix}embeddings.mask_token` || name === HEAD_WEIGHT,
  };
}

/** Columns of each half of a gated MLP (SwiGLU): two thirds, so that there are as many weights, in whole eights. */
function gatedSize(inner: number): number {
  return Math.ceil(Math.floor((Math.floor(inner) * 2) / 3) / 8) * 8;
}
