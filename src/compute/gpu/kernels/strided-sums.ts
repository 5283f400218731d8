import type { KernelSource } from "../pipelines.ts";
import type { KernelDtype } from "../../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import stridedSumsText from "./strided-sums.wgsl" with { type: "text" };

/** Columns that one workgroup handles. */
export const STRIDED_SUMS_WIDTH = 64;

const family = kernelFamily("strided-sums", stridedSumsText);

/** Sums of products of elements at regular distances, x stored as `dtype`. */
export function stridedSumsKernel(dtype: KernelDtype): KernelSource {
  return family({ DTYPE: dtype });
}

/** Parameters: see strided-sums.wgsl. */
export const stridedSumsParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  padded: "u32",
  terms: "u32",
  xAt: "u32",
  xRow: "u32",
  xCol: "u32",
  xTerm: "u32",
  wAt: "u32",
  wRow: "u32",
  wCol: "u32",
  wTerm: "u32",
  y: "place",
  accumulate: "flag",
  scale: "f32",
  rowsY: "u32",
});
