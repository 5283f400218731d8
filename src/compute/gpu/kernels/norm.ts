import { kernelFamily } from "./family.ts";
import lossSumText from "./loss-sum.wgsl" with { type: "text" };
import normText from "./norm.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of loss-sum.wgsl. */
const lossSumParameters = uniformStruct({
  count: "u32",
  at: "u32", // elements before the first loss, and from one to the next
  pitch: "u32",
  weight: "f32",
  isFirst: "flag", // 1: assign instead of adding
  slot: "u32", // which word of `sums`
});

/** Parameters of norm.wgsl. */
const squaresParameters = uniformStruct({
  vectors: "u32", // of 4 numbers, from the binding's begin
  perRow: "u32", // workgroups along x
  first: "u32", // where this chunk's partial sums begin
});

/** Parameters of norm.wgsl. */
const normParameters = uniformStruct({
  count: "u32", // of partial sums
  clip: "f32", // the largest norm; 0: gradients are left as they are
});

const lossSum = kernelFamily("loss-sum", lossSumText, lossSumParameters);

/** Vectors of 4 that one thread squares and sums: 256 terms. */
const VECTORS = 64;
const THREADS = 64;

/** Sums of squares of parts of a flat array, {@link SQUARES_PART} vectors of 4 a workgroup. */
export const SQUARES_KERNEL = kernelFamily(
  "norm",
  normText,
  squaresParameters,
)({
  STAGE: "squares",
  VECTORS,
  THREADS,
});

/** Vectors of 4 that one workgroup of {@link SQUARES_KERNEL} sums. */
export const SQUARES_PART = VECTORS * THREADS;

/** The norm from those sums, the factor of clipping, and whether training must halt. One workgroup. */
export const NORM_KERNEL = kernelFamily("norm", normText, normParameters)({ STAGE: "norm", VECTORS, THREADS });

/** Adds weighted sums of losses up. One workgroup. */
export const LOSS_SUM_KERNEL = lossSum({ THREADS });
