import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily } from "./family.ts";
import type { GemvVariant } from "./gemv.ts";
import { uniformStruct } from "./parameters.ts";
import roundedRowsText from "./rounded-rows.wgsl" with { type: "text" };

/** Terms that share a scale: one workgroup rounds them. */
export const ROUNDED_TERMS = 256;

const family = kernelFamily("rounded-rows", roundedRowsText);

/** Rounds rows, perhaps normalised first, for products of whole numbers: a workgroup for each {@link ROUNDED_TERMS} of a row. */
export function roundedRowsKernel(input: Exclude<GemvVariant["input"], "rounded">): KernelSource {
  const threads = ROUNDED_TERMS / 4;
  return family({ INPUT: input, NORMED: Number(input !== "plain"), STAGING: "workgroup", THREADS: threads });
}

/** Parameters: see rounded-rows.wgsl. */
export const roundedRowsParameters = uniformStruct({
  xWidth: "u32",
  halvesPitch: "u32",
  scalesPitch: "u32",
  size: "f32",
  x: "place",
  offset: "f32",
  epsilon: "f32",
  weightAt: "u32",
  branchWeightAt: "u32",
  branch: "place",
  sum: "place",
});
