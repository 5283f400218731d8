import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import lambdaOrderText from "./lambda-order.wgsl" with { type: "text" };
import type { Pairing } from "../../device/pairing.ts";
import { uniformStruct } from "./parameters.ts";

/** Elements that one workgroup handles. */
export const LAMBDA_ORDER_WIDTH = 64;

const family = kernelFamily("lambda-order", lambdaOrderText);

/** λ as the ΔW kernel reads it. */
export function lambdaOrderKernel(pairing: Pairing): KernelSource {
  return family({ PAIRING: pairing });
}

/** Parameters: see lambda-order.wgsl. */
export const lambdaOrderParameters = uniformStruct({
  terms: "u32",
  padded: "u32",
  bases: "u32",
  rank: "u32",
  at: "u32",
  pitch: "u32",
});
