import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import lossSumText from "./loss-sum.wgsl" with { type: "text" };
import normText from "./norm.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const norm = kernelFamily("norm", normText);
const lossSum = kernelFamily("loss-sum", lossSumText);

/** Vectors of 4 that one thread squares and sums: 256 terms. */
const VECTORS = 64;
const THREADS = 64;

/** Sums of squares of parts of a flat array, {@link SQUARES_PART} vectors of 4 a workgroup. */
export const SQUARES_KERNEL: KernelSource = norm({ STAGE: "squares", VECTORS, THREADS });

/** Vectors of 4 that one workgroup of {@link SQUARES_KERNEL} sums. */
export const SQUARES_PART = VECTORS * THREADS;

/** The norm from those sums, the factor of clipping, and whether training must halt. One workgroup. */
export const NORM_KERNEL: KernelSource = norm({ STAGE: "norm", VECTORS, THREADS });

/** Adds weighted sums of losses up. One workgroup. */
export const LOSS_SUM_KERNEL: KernelSource = lossSum({ THREADS });

/** Parameters: see loss-sum.wgsl. */
export const lossSumParameters = uniformStruct({
  count: "u32",
  at: "u32",
  pitch: "u32",
  weight: "f32",
  isFirst: "flag",
  slot: "u32",
});

/** Parameters: see norm.wgsl. */
export const squaresParameters = uniformStruct({
  vectors: "u32",
  perRow: "u32",
  first: "u32",
});

/** Parameters: see norm.wgsl. */
export const normParameters = uniformStruct({
  count: "u32",
  clip: "f32",
});
