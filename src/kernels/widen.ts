import type { KernelSource } from "../gpu/pipelines.ts";
import type { StoredDtype } from "../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import widenText from "./widen.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("widen", widenText);

/** Vectors of 4 elements that one workgroup handles. */
export const WIDEN_WIDTH = 64;

/** A matrix in f32. */
export function widenKernel(dtype: StoredDtype): KernelSource {
  return family({ DTYPE: dtype });
}

/** Parameters: see widen.wgsl. */
export const widenParameters = uniformStruct({
  rows: "u32",
  width: "u32",
  x: "place",
  y: "place",
  rowsY: "u32",
  scalesAt: "u32",
});
