// Small CLIP and DINOv2 models for tests: their config.json, and the shapes of their tensors.
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { Device } from "../../../compute/device/device.ts";
import { writeModel } from "../../testing/models.ts";
import { ImageModel, type ImageModelOptions } from "../image-model.ts";
import { loadImageConfig } from "../index.ts";
import type { Images, Size } from "../patches.ts";

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Sides of 12 pixels, patches of 5: 2 × 2 of them, and 2 pixels left over. */
export const CLIP = {
  model_type: "clip",
  projection_dim: 12,
  vision_config: {
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    image_size: 12,
    patch_size: 5,
  },
  text_config: {
    hidden_size: 8,
    intermediate_size: 12,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    vocab_size: 20,
    max_position_embeddings: 6,
    eos_token_id: 19,
  },
};

/** Sides of 12 pixels, patches of 4: 3 × 3 of them. */
export const DINOV2 = {
  model_type: "dinov2",
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  mlp_ratio: 2,
  image_size: 12,
  patch_size: 4,
};

export const CLIP_SHAPES: Shapes = {
  logit_scale: [],
  "visual_projection.weight": [12, 16],
  "text_projection.weight": [12, 8],
  "vision_model.embeddings.class_embedding": [16],
  "vision_model.embeddings.patch_embedding.weight": [16, 3, 5, 5],
  "vision_model.embeddings.position_embedding.weight": [5, 16],
  "vision_model.embeddings.position_ids": [1, 5],
  ...norm("vision_model.pre_layrnorm", 16),
  ...clipLayer("vision_model.encoder.layers.0", 16, 24),
  ...clipLayer("vision_model.encoder.layers.1", 16, 24),
  ...norm("vision_model.post_layernorm", 16),
  "text_model.embeddings.token_embedding.weight": [20, 8],
  "text_model.embeddings.position_embedding.weight": [6, 8],
  ...clipLayer("text_model.encoder.layers.0", 8, 12),
  ...norm("text_model.final_layer_norm", 8),
};

export const DINOV2_SHAPES: Shapes = {
  "embeddings.cls_token": [1, 1, 8],
  "embeddings.mask_token": [1, 8],
  "embeddings.position_embeddings": [1, 10, 8],
  ...linear("embeddings.patch_embeddings.projection", [8, 3, 4, 4]),
  ...dinov2Layer("encoder.layer.0"),
  ...dinov2Layer("encoder.layer.1"),
  ...norm("layernorm", 8),
};

function norm(name: string, size: number): Shapes {
  return { [`${name}.weight`]: [size], [`${name}.bias`]: [size] };
}

function linear(name: string, shape: readonly number[]): Shapes {
  return { [`${name}.weight`]: shape, [`${name}.bias`]: shape.slice(0, 1) };
}

function clipLayer(prefix: string, width: number, inner: number): Shapes {
  return {
    ...norm(`${prefix}.layer_norm1`, width),
    ...linear(`${prefix}.self_attn.q_proj`, [width, width]),
    ...linear(`${prefix}.self_attn.k_proj`, [width, width]),
    ...linear(`${prefix}.self_attn.v_proj`, [width, width]),
    ...linear(`${prefix}.self_attn.out_proj`, [width, width]),
    ...norm(`${prefix}.layer_norm2`, width),
    ...linear(`${prefix}.mlp.fc1`, [inner, width]),
    ...linear(`${prefix}.mlp.fc2`, [width, inner]),
  };
}

function dinov2Layer(prefix: string): Shapes {
  return {
    ...norm(`${prefix}.norm1`, 8),
    ...linear(`${prefix}.attention.attention.query`, [8, 8]),
    ...linear(`${prefix}.attention.attention.key`, [8, 8]),
    ...linear(`${prefix}.attention.attention.value`, [8, 8]),
    ...linear(`${prefix}.attention.output.dense`, [8, 8]),
    [`${prefix}.layer_scale1.lambda1`]: [8],
    ...norm(`${prefix}.norm2`, 8),
    ...linear(`${prefix}.mlp.fc1`, [16, 8]),
    ...linear(`${prefix}.mlp.fc2`, [8, 16]),
    [`${prefix}.layer_scale2.lambda1`]: [8],
  };
}

/** Writes a model with made-up weights into a folder. */
export async function writeImageModel(folder: string, config: object, shapes: Shapes): Promise<void> {
  await writeModel(folder, config, shapes, (at) => 0.3 * Math.sin(at * 1.7) + 0.1 * Math.cos(at * 0.31));
}

/** Loads a model folder. */
export async function loadImageModel(
  gpu: Device,
  folder: string,
  options: ImageModelOptions = {},
): Promise<ImageModel> {
  await using checkpoint = await Checkpoint.open(folder);
  const model = ImageModel.allocate(gpu, checkpoint, await loadImageConfig(folder, checkpoint.tensors), options);
  await model.fill();
  return model;
}

/** Made-up images. */
export function images(count: number, size: Size, seed = 0): Images {
  const pixels = Float32Array.from({ length: count * 3 * size[0] * size[1] }, (_, at) => Math.sin((at + seed) * 0.37));
  return { count, size, pixels };
}
