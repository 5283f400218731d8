import type { StoredDtype } from "../../device/dtype.ts";
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import squaresText from "./weight-squares.wgsl" with { type: "text" };

/** Parameters of weight-squares.wgsl. */
const weightSquaresParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  flags: "u32",
  w: "vectors",
  delta: "vectors",
  sumsAt: "u32", // elements
  scalesAt: "u32",
});

/** Flags of one dispatch; `accumulate`: sums of columns are added to what is there. */
export const SQUARES_FLAGS = { hasDelta: 1, accumulate: 2 } as const;

const family = kernelFamily("weight-squares", squaresText, weightSquaresParameters, {
  constants: constants(SQUARES_FLAGS),
});

/** Vectors of 4 columns that one workgroup of {@link columnSquaresKernel} handles. */
export const COLUMN_SQUARES_WIDTH = 64;

/** Σ (W + Δ)² of each row, a workgroup each. */
export function rowSquaresKernel(dtype: StoredDtype) {
  return family({ ALONG: "rows", DTYPE: dtype, THREADS: 64 });
}

/** The same of each column. */
export function columnSquaresKernel(dtype: StoredDtype) {
  return family({ ALONG: "columns", DTYPE: dtype });
}
