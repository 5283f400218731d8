import type { RoundedDtype, StoredDtype } from "../../device/dtype.ts";
import type { GemmOrder } from "../../device/families/products.ts";
import { constants, kernelFamily } from "./family.ts";
import integerText from "./gemm-integer.wgsl" with { type: "text" };
import gemmText from "./gemm.wgsl" with { type: "text" };
import { type Along, productDefinitions } from "./product.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of gemm-operands.wgsl. */
const gemmParameters = uniformStruct({
  rows: "u32", // of y
  cols: "u32", // of y, in this block of b
  terms: "u32",
  flags: "u32",
  a: "vectors",
  b: "vectors",
  y: "vectors",
  biasAt: "inVectors",
  residual: "vectors",
  scale: "f32",
  scalesAt: "u32",
  aScalesPitch: "u32", // of what is rounded, scales from row to row
});

/** Flags of one dispatch; `accumulate`: y is added to, not assigned. */
export const GEMM_FLAGS = { hasBias: 1, hasResidual: 2, accumulate: 4 } as const;

/** How a and b lie, by order. */
const ALONG: Readonly<Record<GemmOrder, readonly [a: Along, b: Along]>> = {
  NT: ["rows", "rows"],
  NN: ["rows", "terms"],
  TN: ["terms", "terms"],
};

/** The definitions of a product's core. */
export function productAlong(order: GemmOrder): ReturnType<typeof productDefinitions> {
  return productDefinitions(...ALONG[order]);
}

const family = kernelFamily("gemm", gemmText, gemmParameters, { constants: constants(GEMM_FLAGS) });
const integer = kernelFamily("gemm-integer", integerText, gemmParameters, { constants: constants(GEMM_FLAGS) });

/** The product of two matrices, the second stored as `dtype`. */
export function gemmKernel(order: GemmOrder, dtype: StoredDtype | "TERNARY") {
  return family({ ORDER: order, DTYPE: dtype, ...productAlong(order) });
}

/** The product a bᵀ of rounded rows (rounded-rows.wgsl) and a matrix in blocks. */
export function integerGemmKernel(dtype: RoundedDtype) {
  return integer({ DTYPE: dtype });
}
