import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import backwardText from "./rms-norm-backward.wgsl" with { type: "text" };
import rmsNormText from "./rms-norm.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("rms-norm", rmsNormText);
const backward = kernelFamily("rms-norm-backward", backwardText);

/** Root mean square normalization of row segments; one workgroup a segment. */
export const RMS_NORM_KERNEL: KernelSource = family({ THREADS: 128 });

/** The gradient by x, and the segments' scales. */
export const RMS_NORM_BACKWARD_KERNEL: KernelSource = backward({ THREADS: 128 });

/** Parameters: see rms-norm-backward.wgsl. */
export const rmsNormBackwardParameters = uniformStruct({
  width: "u32",
  cols: "f32",
  segments: "u32",
  outputs: "u32",
  x: "place",
  g: "place",
  dx: "place",
  offset: "f32",
  epsilon: "f32",
  weightAt: "u32",
});

/** Parameters: see rms-norm.wgsl. */
export const rmsNormParameters = uniformStruct({
  width: "u32",
  cols: "f32",
  x: "place",
  y: "place",
  offset: "f32",
  epsilon: "f32",
  weightAt: "u32",
});
