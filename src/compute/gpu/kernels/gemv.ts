import type { StoredDtype } from "../../device/dtype.ts";
import { gates } from "./elementwise.ts";
import { constants, kernelFamily } from "./family.ts";
import gemvText from "./gemv.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of gemv-operands.wgsl. */
const gemvParameters = uniformStruct({
  rows: "u32",
  cols: "u32", // of this block of W's rows
  terms: "u32", // groups of 8; in x, W and their padding
  xWidth: "u32", // vectors of 4 that a row of x has
  flags: "u32",
  x: "vectors",
  w: "place", // as `load8` counts
  y: "vectors",
  biasAt: "inVectors",
  residual: "vectors",
  workgroupsY: "u32",
  scale: "f32",
  scalesAt: "u32",
  size: "f32", // elements in a row of x
  offset: "f32",
  epsilon: "f32",
  gate: "u32", // its number
  weightAt: "inVectors",
  branchWeightAt: "inVectors",
  branch: "vectors",
  sum: "vectors",
});

/** Flags of one dispatch. */
export const GEMV_FLAGS = { hasBias: 1, hasResidual: 2 } as const;

/** Rows of x that one workgroup takes at most. */
export const GEMV_MAX_ROWS = 4;

/** Rows of W that one workgroup of 64 threads takes. */
const TILE_COLS = 4;

const family = kernelFamily("gemv", gemvText, gemvParameters, { constants: constants(GEMV_FLAGS), gates: gates() });

/** What is multiplied with W, and whether the rows of W are two halves of which one gates the other; see gemv-operands.wgsl. */
export interface GemvVariant {
  readonly input: "plain" | "normed" | "joined";
  readonly gated: boolean;
}

/** Columns of y that one workgroup of the vector path computes. */
export function gemvTileCols(gated: boolean): number {
  return gated ? TILE_COLS / 2 : TILE_COLS;
}

/** The vector path of a linear layer, `rows` rows a workgroup, 1 … GEMV_MAX_ROWS. */
export function gemvKernel(dtype: StoredDtype, rows: number, { input, gated }: GemvVariant) {
  return family({ DTYPE: dtype, ROWS: rows, INPUT: input, GATED: Number(gated), TILE_COLS, THREADS: 64 });
}
