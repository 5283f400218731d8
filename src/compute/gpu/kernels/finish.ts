import type { KernelSource } from "../pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import finishText from "./finish.wgsl" with { type: "text" };
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

/** Flags of one dispatch; the constants of the same names in finish.wgsl. */
export const FINISH_FLAGS = { hasWeight: 1, roundDelta: 2 } as const;

/** Vectors of 4 that one thread finishes: sums of 256 squares. */
const VECTORS = 64;

const family = kernelFamily("finish", finishText);

/** W + ΔW, rounded once, with statistics. */
export function finishKernel(staging: GpuStaging): KernelSource {
  return family({ VECTORS, ...reduction(staging, 64) });
}

/** Vectors of 4 that one workgroup of {@link finishKernel} handles. */
export function finishPart(staging: GpuStaging): number {
  return VECTORS * reduction(staging, 64).THREADS;
}

/** Parameters: see finish.wgsl. */
export const finishParameters = uniformStruct({
  cols: "u32",
  width: "u32",
  vectors: "u32",
  pitch: "u32",
  flags: "u32",
  sourceDtype: "u32",
  targetDtype: "u32",
  perRow: "u32",
});
