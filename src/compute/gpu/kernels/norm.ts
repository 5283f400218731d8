import type { KernelSource } from "../pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import lossSumText from "./loss-sum.wgsl" with { type: "text" };
import normText from "./norm.wgsl" with { type: "text" };
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const norm = kernelFamily("norm", normText);
const lossSum = kernelFamily("loss-sum", lossSumText);

/** Vectors of 4 that one thread squares and sums: 256 terms. */
const VECTORS = 64;

/** Sums of squares of parts of a flat array, {@link squaresPart} vectors of 4 a workgroup. */
export function squaresKernel(staging: GpuStaging): KernelSource {
  return norm({ STAGE: "squares", VECTORS, ...reduction(staging, 64) });
}

/** Vectors of 4 that one workgroup of {@link squaresKernel} sums. */
export function squaresPart(staging: GpuStaging): number {
  return VECTORS * reduction(staging, 64).THREADS;
}

/** The norm from those sums, the factor of clipping, and whether training must halt. One workgroup. */
export function normKernel(staging: GpuStaging): KernelSource {
  return norm({ STAGE: "norm", VECTORS, ...reduction(staging, 64) });
}

/** Adds weighted sums of losses up. One workgroup. */
export function lossSumKernel(staging: GpuStaging): KernelSource {
  return lossSum(reduction(staging, 64));
}

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
