import type { KernelDtype } from "../../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import stridedSumsText from "./strided-sums.wgsl" with { type: "text" };

/** Parameters of strided-sums.wgsl. */
const stridedSumsParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  padded: "u32", // columns that are written: zeros beyond `cols`, where y is assigned
  terms: "u32",
  xAt: "u32", // elements before the first one, and from row to row, column to column, term to term
  xRow: "u32",
  xCol: "u32",
  xTerm: "u32",
  weighted: "flag", // by w; else all its numbers are 1
  wAt: "u32",
  wRow: "u32",
  wCol: "u32",
  wTerm: "u32",
  y: "elements",
  accumulate: "flag", // y is added to, not assigned
  scale: "f32",
  rowsY: "u32", // rows along y; further ones along z
});

/** Columns that one workgroup handles. */
export const STRIDED_SUMS_WIDTH = 64;

const family = kernelFamily("strided-sums", stridedSumsText, stridedSumsParameters);

/** Sums of products of elements at regular distances, x stored as `dtype`. */
export function stridedSumsKernel(dtype: KernelDtype) {
  return family({ DTYPE: dtype });
}
