import basisGradientText from "./basis-gradient.wgsl" with { type: "text" };
import type { KernelDtype } from "../../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import type { Pairing } from "../../device/pairing.ts";
import { productDefinitions } from "./product.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of basis-gradient.wgsl. */
const basisGradientParameters = uniformStruct({
  rows: "u32", // of dŜ: n·r
  cols: "u32", // m
  terms: "u32", // tokens, or rows of B̂
  sliceTiles: "u32", // tiles of rows in a slice
  p: "vectors",
  q: "vectors",
  bases: "u32", // n
  rank: "u32", // r
  aPitch: "inVectors",
  gamma: "vectors",
  lambda: "elements",
});

const family = kernelFamily("basis-gradient", basisGradientText, basisGradientParameters);

/** Partial sums of dλ and dγ from PᵀQ; `left`: how P is stored. */
export function basisGradientKernel(pairing: Pairing, left: KernelDtype | "TERNARY") {
  return family({ DTYPE: left, PAIRING: pairing, ...productDefinitions("terms", "terms") });
}
