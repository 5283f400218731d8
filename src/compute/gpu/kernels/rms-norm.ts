import { kernelFamily } from "./family.ts";
import backwardText from "./rms-norm-backward.wgsl" with { type: "text" };
import rmsNormText from "./rms-norm.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of rms-norm-backward.wgsl. */
const rmsNormBackwardParameters = uniformStruct({
  width: "u32", // vectors of 4 in a segment
  cols: "f32", // elements in a segment
  segments: "u32", // in a row
  outputs: "u32", // bit 0: dx, bit 1: s
  x: "vectors",
  g: "vectors",
  dx: "vectors",
  offset: "f32",
  epsilon: "f32",
  weightAt: "inVectors",
});

/** Parameters of rms-norm.wgsl. */
const rmsNormParameters = uniformStruct({
  width: "u32", // vectors of 4 in a segment
  cols: "f32", // elements in a segment
  x: "vectors",
  y: "vectors",
  offset: "f32", // 1 where the checkpoint stores weight − 1 (Gemma), else 0
  epsilon: "f32",
  weightAt: "inVectors",
});

const family = kernelFamily("rms-norm", rmsNormText, rmsNormParameters);
const backward = kernelFamily("rms-norm-backward", backwardText, rmsNormBackwardParameters);

/** Root mean square normalization of row segments; one workgroup a segment. */
export const RMS_NORM_KERNEL = family({ THREADS: 128 });

/** The gradient by x, and the segments' scales. */
export const RMS_NORM_BACKWARD_KERNEL = backward({ THREADS: 128 });
