import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import backwardText from "./layer-norm-backward.wgsl" with { type: "text" };
import layerNormText from "./layer-norm.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("layer-norm", layerNormText);
const backward = kernelFamily("layer-norm-backward", backwardText);

/** Layer normalization; one workgroup a row. */
export const LAYER_NORM_KERNEL: KernelSource = family({ THREADS: 128 });

/** The gradient by x, and the products that make up the one by the weight. */
export const LAYER_NORM_BACKWARD_KERNEL: KernelSource = backward({ THREADS: 128 });

/** Parameters: see layer-norm-backward.wgsl. */
export const layerNormBackwardParameters = uniformStruct({
  width: "u32",
  cols: "u32",
  outputs: "u32",
  x: "place",
  dy: "place",
  dx: "place",
  products: "place",
  weightAt: "u32",
  epsilon: "f32",
});

/** Parameters: see layer-norm.wgsl. */
export const layerNormParameters = uniformStruct({
  width: "u32",
  cols: "u32",
  x: "place",
  y: "place",
  weightAt: "u32",
  biasAt: "u32",
  hasBias: "flag",
  epsilon: "f32",
});
