import { kernelFamily } from "./family.ts";
import partialSumsText from "./partial-sums.wgsl" with { type: "text" };

/** Columns that one workgroup handles. */
export const PARTIAL_SUMS_WIDTH = 64;

/** Adds partial sums to a matrix. Parameters: see partial-sums.wgsl. */
export const PARTIAL_SUMS_KERNEL = kernelFamily("partial-sums", partialSumsText)({});
