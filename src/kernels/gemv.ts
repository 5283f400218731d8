import type { KernelSource } from "../gpu/pipelines.ts";
import type { KernelDtype } from "./dtype.ts";
import { kernelFamily, reduction } from "./family.ts";
import gemvText from "./gemv.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

/** Flags of one dispatch; the constants of the same names in gemv.wgsl. */
export const GEMV_FLAGS = { hasBias: 1, hasResidual: 2 } as const;

/** Rows of x that the vector path takes; more go through the matrix path. */
export const GEMV_MAX_ROWS = 4;

/** Columns of y that one workgroup of the vector path computes. */
export const GEMV_TILE_COLS = 4;

const family = kernelFamily("gemv", gemvText);

/** The vector path of a linear layer for exactly `rows` rows, 1 … GEMV_MAX_ROWS. Parameters: see gemv.wgsl. */
export function gemvKernel(staging: Staging, dtype: KernelDtype, rows: number): KernelSource {
  return family({ DTYPE: dtype, ROWS: rows, TILE_COLS: GEMV_TILE_COLS, ...reduction(staging, 64) });
}
