import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { activationNamed } from "../decoder/architectures/common.ts";
import { Size as Count } from "../decoder/config-file.ts";
import type { Stored } from "../tensor-plan.ts";
import type { EncoderConfig } from "./encoder.ts";
import { CHANNELS, type Size } from "./patches.ts";
import type { TextConfig } from "./text-tower.ts";
import type { VisionConfig } from "./vision-plan.ts";

/** A model of images, and perhaps of texts: what its config.json and its checkpoint's names say. */
export interface ImageConfig {
  /** `model_type` of config.json. */
  readonly architecture: string;
  readonly vision: VisionConfig;
  /** Undefined where the checkpoint has no encoder of texts. */
  readonly text: TextConfig | undefined;
  /** The matrices that bring both to vectors of one size; undefined: there are none. */
  readonly projections: Projections | undefined;
  /** transformers' own classifier; undefined: the checkpoint has none, or a matrix without a bias, which reads class tokens. */
  readonly classifier: Classifier | undefined;
  /** The names of the rows of either, in their order; none without both. */
  readonly labels: readonly string[];
  /** Is this a tensor that checkpoints carry and nobody needs? */
  isSuperfluous(name: string): boolean;
}

export interface Projections {
  readonly vision: Stored;
  readonly text: Stored;
  readonly logitScale: Stored;
}

export interface Classifier {
  readonly weight: Stored;
  readonly bias: Stored;
}

/** What transformers calls the tensors of a head. */
export const [HEAD_WEIGHT, HEAD_BIAS] = ["classifier.weight", "classifier.bias"] as const;

/** Shapes of a checkpoint's tensors by name. */
export type Tensors = ReadonlyMap<string, { readonly info: { readonly shape: readonly number[] } }>;

/** One number for both sides, or height and width. */
export const SizeJson = v.union([Count, v.strictTuple([Count, Count])]);

export function sizeOf(size: number | readonly [number, number]): Size {
  return typeof size === "number" ? [size, size] : size;
}

/** The settings of classes, which both kinds of models may have. */
export const LABELS_JSON = { id2label: v.nullish(v.record(v.string(), v.string())) };

/** The checkpoint's head, its classifier one of vectors of a given length. transformers leaves the names out where they are LABEL_0 and LABEL_1. */
export function headOf(
  tensors: Tensors,
  features: number,
  names: Readonly<Record<string, string>> | null | undefined,
): Pick<ImageConfig, "classifier" | "labels"> {
  const found = tensors.get(HEAD_WEIGHT);
  if (found === undefined) return { classifier: undefined, labels: [] };
  const named = Object.keys(names ?? {}).length;
  const count = named > 0 ? named : (found.info.shape[0] ?? 0);
  const labels = Array.from({ length: count }, (_, index) => names?.[index] ?? `LABEL_${index}`);
  if (!tensors.has(HEAD_BIAS)) return { classifier: undefined, labels };
  return { classifier: { weight: [HEAD_WEIGHT, [count, features]], bias: [HEAD_BIAS, [count]] }, labels };
}

/**
 * Checks what the kernels rely on, and names the sizes that follow.
 * @throws RandloraError `model`
 */
export function encoderOf(sizes: Omit<EncoderConfig, "headSize" | "activation">, activation: string): EncoderConfig {
  const { width, heads } = sizes;
  const headSize = width / heads;
  if (!Number.isInteger(headSize)) throw new RandloraError("model", `a width of ${width} has no ${heads} equal heads`);
  if (headSize % 4 !== 0 || headSize > 256) {
    throw new RandloraError("model", `heads of ${headSize} elements`, "supported: multiples of 4, up to 256");
  }
  return { ...sizes, headSize, activation: activationNamed(activation) };
}

/** @throws RandloraError `model` where an image of the model's own size holds no patch, or its pixels are no colors */
export function checkImages(image: Size, patch: Size, channels: number): void {
  if (channels !== CHANNELS) {
    throw new RandloraError("model", `images of ${channels} channels`, `supported: ${CHANNELS}, red, green and blue`);
  }
  if (image.some((size, axis) => size < (patch[axis] ?? NaN))) {
    throw new RandloraError("model", `patches of ${patch.join("×")} pixels in images of ${image.join("×")}`);
  }
}
