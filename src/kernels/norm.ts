import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import lossSumText from "./loss-sum.wgsl" with { type: "text" };
import normText from "./norm.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

const norm = kernelFamily("norm", normText);
const lossSum = kernelFamily("loss-sum", lossSumText);

/** Vectors of 4 that one thread squares and sums: 256 terms. */
const VECTORS = 64;

/** Sums of squares of parts of a flat array, {@link squaresPart} vectors of 4 a workgroup. Parameters: see norm.wgsl. */
export function squaresKernel(staging: Staging): KernelSource {
  return norm({ STAGE: "squares", VECTORS, ...reduction(staging, 64) });
}

/** Vectors of 4 that one workgroup of {@link squaresKernel} sums. */
export function squaresPart(staging: Staging): number {
  return VECTORS * reduction(staging, 64).THREADS;
}

/** The norm from those sums, the factor of clipping, and whether training must halt. One workgroup. */
export function normKernel(staging: Staging): KernelSource {
  return norm({ STAGE: "norm", VECTORS, ...reduction(staging, 64) });
}

/** Adds weighted sums of losses up. One workgroup. Parameters: see loss-sum.wgsl. */
export function lossSumKernel(staging: Staging): KernelSource {
  return lossSum(reduction(staging, 64));
}
