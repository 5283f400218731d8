import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import rmsNormText from "./rms-norm.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

const family = kernelFamily("rms-norm", rmsNormText);

/** Root mean square normalisation of row segments; one workgroup a segment. Parameters: see rms-norm.wgsl. */
export function rmsNormKernel(staging: Staging): KernelSource {
  return family(reduction(staging, 128));
}
