import adamwText from "./adamw.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Threads of a workgroup, each of which updates 4 numbers. */
export const ADAMW_THREADS = 64;

/** One AdamW step on flat arrays, updated in place. */
export const ADAMW_KERNEL = kernelFamily("adamw", adamwText)({ THREADS: ADAMW_THREADS });

/** Parameters: see adamw.wgsl. */
export const adamwParameters = uniformStruct({
  vectors: "u32",
  perRow: "u32",
  keep: "f32",
  meanWeight: "f32",
  squareKeep: "f32",
  squareWeight: "f32",
  correction: "f32",
  epsilon: "f32",
  stepSize: "f32",
});
