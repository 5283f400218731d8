import columnSumsText from "./column-sums.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of column-sums.wgsl. */
const columnSumsParameters = uniformStruct({
  width: "u32", // vectors of 4 in a segment
  rows: "u32", // with segments counted as rows
  segments: "u32", // in a row of a and b
  block: "u32", // rows of a block, at most 256
  product: "flag", // with b
  a: "vectors",
  b: "vectors",
  y: "vectors",
});

/** Vectors of 4 columns that one workgroup handles. */
export const COLUMN_SUMS_WIDTH = 64;

/** Sums down the columns of blocks of rows. */
export const COLUMN_SUMS_KERNEL = kernelFamily("column-sums", columnSumsText, columnSumsParameters)({});
