import type { KernelSource } from "../pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import backwardText from "./layer-norm-backward.wgsl" with { type: "text" };
import layerNormText from "./layer-norm.wgsl" with { type: "text" };
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("layer-norm", layerNormText);
const backward = kernelFamily("layer-norm-backward", backwardText);

/** Layer normalization; one workgroup a row. */
export function layerNormKernel(staging: GpuStaging): KernelSource {
  return family(reduction(staging, 128));
}

/** The gradient by x, and the products that make up the one by the weight. */
export function layerNormBackwardKernel(staging: GpuStaging): KernelSource {
  return backward(reduction(staging, 128));
}

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
