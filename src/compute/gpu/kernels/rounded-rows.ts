import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import roundedRowsText from "./rounded-rows.wgsl" with { type: "text" };

/** Terms that share a scale: one workgroup rounds them. */
export const ROUNDED_TERMS = 256;

const family = kernelFamily("rounded-rows", roundedRowsText);

/** Rounds rows for products of whole numbers: a workgroup for each {@link ROUNDED_TERMS} of a row. */
export function roundedRowsKernel(): KernelSource {
  return family({ THREADS: ROUNDED_TERMS / 4 });
}

/** Parameters: see rounded-rows.wgsl. */
export const roundedRowsParameters = uniformStruct({
  xWidth: "u32",
  halvesPitch: "u32",
  scalesPitch: "u32",
  x: "place",
});
