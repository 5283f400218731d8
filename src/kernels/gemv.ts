import type { KernelSource } from "../gpu/pipelines.ts";
import type { StoredDtype } from "../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import lanesText from "./gemv-lanes.wgsl" with { type: "text" };
import gemvText from "./gemv.wgsl" with { type: "text" };
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

/** Flags of one dispatch; the constants of the same names in gemv-operands.wgsl. */
export const GEMV_FLAGS = { hasBias: 1, hasResidual: 2 } as const;

/** Rows of x that the vector path takes; more go through the matrix path. */
export const GEMV_MAX_ROWS = 4;

/** Columns of y that one workgroup of 64 threads computes. */
const TILE_COLS = 4;

const threads = kernelFamily("gemv", gemvText);
const lanes = kernelFamily("gemv-lanes", lanesText);

/** Columns of y that one workgroup of the vector path computes. */
export function gemvTileCols(staging: GpuStaging): number {
  return staging.kind === "subgroup" ? staging.lanes : TILE_COLS;
}

/** The vector path of a linear layer for exactly `rows` rows, 1 … GEMV_MAX_ROWS. */
export function gemvKernel(staging: GpuStaging, dtype: StoredDtype, rows: number): KernelSource {
  if (staging.kind === "subgroup") return lanes({ DTYPE: dtype, ROWS: rows, LANES: staging.lanes });
  return threads({ DTYPE: dtype, ROWS: rows, TILE_COLS, THREADS: 64 });
}

/** Parameters: see gemv-operands.wgsl. */
export const gemvParameters = uniformStruct({
  cols: "u32",
  terms: "u32",
  xWidth: "u32",
  flags: "u32",
  x: "place",
  w: "place",
  y: "place",
  biasAt: "u32",
  residual: "place",
  workgroupsX: "u32",
  scale: "f32",
  scalesAt: "u32",
});
