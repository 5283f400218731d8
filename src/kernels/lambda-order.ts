import { kernelFamily } from "./family.ts";
import lambdaOrderText from "./lambda-order.wgsl" with { type: "text" };

/** Elements that one workgroup handles. */
export const LAMBDA_ORDER_WIDTH = 64;

/** λ as the ΔW kernel reads it. Parameters: see lambda-order.wgsl. */
export const LAMBDA_ORDER_KERNEL = kernelFamily("lambda-order", lambdaOrderText)({});
