import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import roundedRowsText from "./rounded-rows.wgsl" with { type: "text" };

/** Parameters of rounded-rows.wgsl. */
const roundedRowsParameters = uniformStruct({
  xWidth: "u32", // vectors of 4 that a row of x has
  halvesPitch: "inVectors", // terms from row to row of what is rounded, and scales
  scalesPitch: "u32",
  x: "vectors",
});

/** Terms that share a scale: one workgroup rounds them. */
export const ROUNDED_TERMS = 256;

const family = kernelFamily("rounded-rows", roundedRowsText, roundedRowsParameters);

/** Rounds rows for products of whole numbers: a workgroup for each {@link ROUNDED_TERMS} of a row. */
export function roundedRowsKernel() {
  return family({ THREADS: ROUNDED_TERMS / 4 });
}
