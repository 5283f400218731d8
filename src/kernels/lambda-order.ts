import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily } from "./family.ts";
import lambdaOrderText from "./lambda-order.wgsl" with { type: "text" };
import type { Pairing } from "./pairing.ts";

/** Elements that one workgroup handles. */
export const LAMBDA_ORDER_WIDTH = 64;

const family = kernelFamily("lambda-order", lambdaOrderText);

/** λ as the ΔW kernel reads it. Parameters: see lambda-order.wgsl. */
export function lambdaOrderKernel(pairing: Pairing): KernelSource {
  return family({ PAIRING: pairing });
}
