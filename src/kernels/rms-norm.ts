import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import backwardText from "./rms-norm-backward.wgsl" with { type: "text" };
import rmsNormText from "./rms-norm.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

const family = kernelFamily("rms-norm", rmsNormText);
const backward = kernelFamily("rms-norm-backward", backwardText);

/** Root mean square normalisation of row segments; one workgroup a segment. Parameters: see rms-norm.wgsl. */
export function rmsNormKernel(staging: Staging): KernelSource {
  return family(reduction(staging, 128));
}

/** The gradient by x, and the segments' scales. Parameters: see rms-norm-backward.wgsl. */
export function rmsNormBackwardKernel(staging: Staging): KernelSource {
  return backward(reduction(staging, 128));
}
