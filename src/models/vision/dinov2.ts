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
import { gridOf } from "./patches.ts";

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
