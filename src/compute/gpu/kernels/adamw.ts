import adamwText from "./adamw.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of adamw.wgsl. */
const adamwParameters = uniformStruct({
  vectors: "u32", // of 4 numbers, from the bindings' begins
  perRow: "u32", // workgroups along x
  keep: "f32", // 1 − lr · weight decay
  meanWeight: "f32", // 1 − β₁
  squareKeep: "f32", // β₂
  squareWeight: "f32", // 1 − β₂
  correction: "f32", // √(1 − β₂ᵗ)
  epsilon: "f32",
  stepSize: "f32", // lr / (1 − β₁ᵗ)
});

/** Threads of a workgroup, each of which updates 4 numbers. */
export const ADAMW_THREADS = 64;

/** One AdamW step on flat arrays, updated in place. */
export const ADAMW_KERNEL = kernelFamily("adamw", adamwText, adamwParameters)({ THREADS: ADAMW_THREADS });
