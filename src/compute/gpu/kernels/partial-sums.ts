import { kernelFamily } from "./family.ts";
import partialSumsText from "./partial-sums.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of partial-sums.wgsl. */
const partialSumsParameters = uniformStruct({
  cols: "u32",
  parts: "u32", // partial sums of each element
  partStride: "u32", // elements from one partial sum to the next
  rowStride: "u32",
  colStride: "u32",
  target: "elements",
  scale: "f32",
});

/** Columns that one workgroup handles. */
export const PARTIAL_SUMS_WIDTH = 64;

/** Adds partial sums to a matrix. */
export const PARTIAL_SUMS_KERNEL = kernelFamily("partial-sums", partialSumsText, partialSumsParameters)({});
