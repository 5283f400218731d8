import { kernelFamily } from "./family.ts";
import partialSumsText from "./partial-sums.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Columns that one workgroup handles. */
export const PARTIAL_SUMS_WIDTH = 64;

/** Adds partial sums to a matrix. */
export const PARTIAL_SUMS_KERNEL = kernelFamily("partial-sums", partialSumsText)({});

/** Parameters: see partial-sums.wgsl. */
export const partialSumsParameters = uniformStruct({
  cols: "u32",
  parts: "u32",
  partStride: "u32",
  rowStride: "u32",
  colStride: "u32",
  target: "place",
  scale: "f32",
});
