import type { LayerNorm, RmsNorm } from "../../blocks/norm.ts";
import { constantVector, type PlannedMatrix, plannedVector } from "../../tensor-plan.ts";

/** A norm by the root of the mean square, over `size` elements. @param offset added to its weights */
export function rmsNorm(name: string, size: number, epsilon: number, offset = 0): RmsNorm<PlannedMatrix> {
  return { kind: "rms", weight: plannedVector([`${name}.weight`, [size]]), epsilon, offset };
}

/** The same of parts of `size` elements, without weights. */
export function plainNorm(size: number, epsilon: number): RmsNorm<PlannedMatrix> {
  return { kind: "rms", weight: constantVector(size, 1), epsilon, offset: 0 };
}

/** A norm by mean and variance, over `size` elements. */
export function layerNorm(name: string, size: number, epsilon: number, bias = true): LayerNorm<PlannedMatrix> {
  const vector = (kind: string) => plannedVector([`${name}.${kind}`, [size]]);
  return { kind: "layer", weight: vector("weight"), bias: bias ? vector("bias") : undefined, epsilon };
}
