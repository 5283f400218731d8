import type { KernelSource } from "../pipelines.ts";
import basisGradientText from "./basis-gradient.wgsl" with { type: "text" };
import type { KernelDtype } from "../../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import type { Pairing } from "../../device/pairing.ts";
import { productDefinitions } from "./product.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("basis-gradient", basisGradientText);

/** Partial sums of dλ and dγ from PᵀQ; `left`: how P is stored. */
export function basisGradientKernel(pairing: Pairing, left: KernelDtype | "TERNARY"): KernelSource {
  return family({ DTYPE: left, PAIRING: pairing, ...productDefinitions("terms", "terms") });
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
