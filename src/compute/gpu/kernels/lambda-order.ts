import { kernelFamily } from "./family.ts";
import lambdaOrderText from "./lambda-order.wgsl" with { type: "text" };
import type { Pairing } from "../../device/pairing.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of lambda-order.wgsl. */
const lambdaOrderParameters = uniformStruct({
  terms: "u32", // n·r
  padded: "u32",
  bases: "u32", // n
  rank: "u32", // r
  at: "u32", // elements before the first one
  pitch: "u32", // elements from row to row
});

/** Elements that one workgroup handles. */
export const LAMBDA_ORDER_WIDTH = 64;

const family = kernelFamily("lambda-order", lambdaOrderText, lambdaOrderParameters);

/** λ as the ΔW kernel reads it. */
export function lambdaOrderKernel(pairing: Pairing) {
  return family({ PAIRING: pairing });
}
