import columnSumsText from "./column-sums.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Vectors of 4 columns that one workgroup handles. */
export const COLUMN_SUMS_WIDTH = 64;

/** Sums down the columns of blocks of rows. */
export const COLUMN_SUMS_KERNEL = kernelFamily("column-sums", columnSumsText)({});

/** Parameters: see column-sums.wgsl. */
export const columnSumsParameters = uniformStruct({
  width: "u32",
  rows: "u32",
  segments: "u32",
  block: "u32",
  product: "u32",
  a: "place",
  b: "place",
  y: "place",
});
