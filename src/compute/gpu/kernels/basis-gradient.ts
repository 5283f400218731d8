import type { KernelSource } from "../pipelines.ts";
import workgroupText from "./basis-gradient-workgroup.wgsl" with { type: "text" };
import basisGradientText from "./basis-gradient.wgsl" with { type: "text" };
import type { KernelDtype } from "../../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import type { Pairing } from "../../device/pairing.ts";
import { productDefinitions } from "./product.ts";
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("basis-gradient", basisGradientText, { workgroup: workgroupText });

/** Partial sums of dλ and dγ from PᵀQ; `left`: how P is stored. */
export function basisGradientKernel(
  staging: GpuStaging,
  pairing: Pairing,
  left: KernelDtype | "TERNARY",
): KernelSource {
  return family({ DTYPE: left, PAIRING: pairing, ...productDefinitions(staging, "terms", "terms") });
}

/** Parameters: see basis-gradient.wgsl. */
export const basisGradientParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  terms: "u32",
  sliceTiles: "u32",
  p: "place",
  q: "place",
  bases: "u32",
  rank: "u32",
  aPitch: "u32",
  gamma: "place",
  lambda: "place",
});
