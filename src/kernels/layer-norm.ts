import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import backwardText from "./layer-norm-backward.wgsl" with { type: "text" };
import layerNormText from "./layer-norm.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

const family = kernelFamily("layer-norm", layerNormText);
const backward = kernelFamily("layer-norm-backward", backwardText);

/** Layer normalisation; one workgroup a row. Parameters: see layer-norm.wgsl. */
export function layerNormKernel(staging: Staging): KernelSource {
  return family(reduction(staging, 128));
}

/** The gradient by x, and the products that make up the one by the weight. Parameters: see layer-norm-backward.wgsl. */
export function layerNormBackwardKernel(staging: Staging): KernelSource {
  return backward(reduction(staging, 128));
}
