import type { KernelSource } from "../gpu/pipelines.ts";
import type { KernelDtype } from "./dtype.ts";
import { kernelFamily, reduction } from "./family.ts";
import gemmText from "./gemm.wgsl" with { type: "text" };
import gemvText from "./gemv.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

/** Flags of one dispatch; the constants of the same names in gemm.wgsl and gemv.wgsl. */
export const LINEAR_FLAGS = { hasBias: 1, hasResidual: 2 } as const;

/** Rows of x that the vector path takes; more go through the matrix path. */
export const GEMV_MAX_ROWS = 4;

/** Columns of y that one workgroup of the vector path computes. */
export const GEMV_TILE_COLS = 4;

/** Rows per lane of the subgroup staging: 3 keeps the accumulators of 8 lanes in cache. */
const ROWS_PER_LANE = 3;

const gemm = kernelFamily("gemm", gemmText);
const gemv = kernelFamily("gemv", gemvText);

/** Rows and columns of y that one workgroup of the matrix path computes. */
export function gemmTile(staging: Staging): { readonly rows: number; readonly cols: number } {
  if (staging.kind === "workgroup") return { rows: 64, cols: 64 };
  return { rows: ROWS_PER_LANE * staging.lanes, cols: 4 * staging.lanes };
}

/** The matrix path. Parameters: see gemm.wgsl. */
export function gemmKernel(staging: Staging, dtype: KernelDtype): KernelSource {
  const { rows, cols } = gemmTile(staging);
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  // Mesa's software GPU compiles a shuffle better than a broadcast at 8 lanes and much worse at 16.
  const SHUFFLE = lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast";
  const sizes = { ROWS_PER_LANE, TILE_ROWS: rows, TILE_COLS: cols };
  return gemm({ DTYPE: dtype, STAGING: staging.kind, LANES: lanes, SHUFFLE, ...sizes });
}

/** The vector path for exactly `rows` rows, 1 … GEMV_MAX_ROWS. Parameters: see gemv.wgsl. */
export function gemvKernel(staging: Staging, dtype: KernelDtype, rows: number): KernelSource {
  return gemv({ DTYPE: dtype, ROWS: rows, TILE_COLS: GEMV_TILE_COLS, ...reduction(staging, 64) });
}
