import type { KernelSource } from "../gpu/pipelines.ts";
import workgroupText from "./basis-gradient-workgroup.wgsl" with { type: "text" };
import basisGradientText from "./basis-gradient.wgsl" with { type: "text" };
import dtypeText from "./dtype.wgsl" with { type: "text" };
import type { KernelDtype } from "./dtype.ts";
import matrixText from "./matrix.wgsl" with { type: "text" };
import type { Pairing } from "./pairing.ts";
import pairingText from "./pairing.wgsl" with { type: "text" };
import { PRODUCT_INCLUDES, productDefinitions } from "./product.ts";
import type { Staging } from "./staging.ts";
import { expandTemplate } from "./template.ts";

/** Partial sums of dλ and dγ from PᵀQ; `left`: how P is stored. Parameters: see basis-gradient.wgsl. */
export function basisGradientKernel(staging: Staging, pairing: Pairing, left: KernelDtype): KernelSource {
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  const definitions = { DTYPE: left, PAIRING: pairing, ...productDefinitions(staging, "terms", "terms") };
  const includes = {
    dtype: dtypeText,
    matrix: matrixText,
    pairing: pairingText,
    workgroup: workgroupText,
    ...PRODUCT_INCLUDES,
  };
  const key = `basis-gradient/${left}/${pairing}/${staging.kind}${lanes}`;
  return { key, code: expandTemplate(basisGradientText, definitions, includes) };
}
