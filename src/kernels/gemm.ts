import type { KernelSource } from "../gpu/pipelines.ts";
import type { StoredDtype } from "../device/dtype.ts";
import type { GemmOrder } from "../device/families/products.ts";
import { kernelFamily } from "./family.ts";
import gemmText from "./gemm.wgsl" with { type: "text" };
import { type Along, productDefinitions } from "./product.ts";
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

/** Flags of one dispatch; the constants of the same names in gemm.wgsl. */
export const GEMM_FLAGS = { hasBias: 1, hasResidual: 2, accumulate: 4 } as const;

/** How a and b lie, by order. */
const ALONG: Readonly<Record<GemmOrder, readonly [a: Along, b: Along]>> = {
  NT: ["rows", "rows"],
  NN: ["rows", "terms"],
  TN: ["terms", "terms"],
};

const family = kernelFamily("gemm", gemmText);

/** The product of two matrices, the second stored as `dtype`. */
export function gemmKernel(staging: GpuStaging, order: GemmOrder, dtype: StoredDtype | "TERNARY"): KernelSource {
  return family({ ORDER: order, DTYPE: dtype, ...productDefinitions(staging, ...ALONG[order]) });
}

/** Parameters: see gemm.wgsl. */
export const gemmParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  terms: "u32",
  flags: "u32",
  a: "place",
  b: "place",
  y: "place",
  biasAt: "u32",
  residual: "place",
  scale: "f32",
  scalesAt: "u32",
});
