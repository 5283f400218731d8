import columnSumsText from "./column-sums.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";

/** Vectors of 4 columns that one workgroup handles. */
export const COLUMN_SUMS_WIDTH = 64;

/** Sums down the columns of blocks of rows. Parameters: see column-sums.wgsl. */
export const COLUMN_SUMS_KERNEL = kernelFamily("column-sums", columnSumsText)({});
