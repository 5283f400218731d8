import type { StoredDtype } from "../../device/dtype.ts";
import type { GemmOrder } from "../../device/families/products.ts";
import { kernelFamily } from "./family.ts";
import { productAlong } from "./gemm.ts";
import groupedGemmText from "./grouped-gemm.wgsl" with { type: "text" };
import groupedGemvText from "./grouped-gemv.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of grouped-gemm.wgsl. */
const groupedGemmParameters = uniformStruct({
  rows: "u32", // of y, in TN of one group
  cols: "u32",
  terms: "u32", // of all groups but in TN
  a: "vectors",
  b: "vectors",
  y: "vectors",
  beginsAt: "u32",
  groups: "u32", // whose matrices are bound
  firstTile: "u32",
  scalesAt: "u32",
});

/** Parameters of grouped-gemv.wgsl. */
const groupedGemvParameters = uniformStruct({
  cols: "u32", // rows of a group's matrix
  terms: "u32", // groups of 8; in x, W and their padding
  xWidth: "u32", // vectors of 4 that a row of x has
  x: "vectors",
  w: "place", // as `load8` counts
  y: "vectors",
  beginsAt: "u32",
  groups: "u32", // whose matrices are bound
  workgroupsY: "u32",
  scalesAt: "u32",
});

/** Columns that one workgroup of the vector path takes. */
export const GROUPED_GEMV_COLS = 4;

const matrices = kernelFamily("grouped-gemm", groupedGemmText, groupedGemmParameters);
const vectors = kernelFamily("grouped-gemv", groupedGemvText, groupedGemvParameters);

/** Products of groups of rows with matrices stored as `dtype`. */
export function groupedGemmKernel(order: GemmOrder, dtype: StoredDtype) {
  return matrices({ ORDER: order, DTYPE: dtype, ...productAlong(order) });
}

/** The same in NT for few rows, one at a time. */
export function groupedGemvKernel(dtype: StoredDtype) {
  return vectors({ DTYPE: dtype, TILE_COLS: GROUPED_GEMV_COLS, THREADS: 64 });
}
