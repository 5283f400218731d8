import type { Activation } from "../../../compute/tensor/elementwise.ts";
import { constantVector, plannedLinear, type PlannedMatrix, plannedVector, type Stored } from "../../tensor-plan.ts";
import type { LayerNorm, RmsNorm } from "../../blocks/norm.ts";

/** The sizes of a model's parts. */
export interface Sizes {
  readonly hidden: number;
  /** Of the MLP. */
  readonly inner: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** Of norms. */
  readonly epsilon: number;
  /** Of the MLP. */
  readonly activation: Activation;
}

/** A module's name and the rows of its matrix. */
export type Module = readonly [name: string, rows: number];

export function weights(cols: number, modules: readonly Module[]): PlannedMatrix {
  return plannedLinear(cols, ...modules.map(([name, rows]): Stored => [`${name}.weight`, [rows, cols]]));
}

export function biases(modules: readonly Module[]): PlannedMatrix {
  return plannedVector(...modules.map(([name, rows]): Stored => [`${name}.bias`, [rows]]));
}

export function output(module: Module, cols: number, bias: boolean) {
  return { weight: weights(cols, [module]), bias: bias ? biases([module]) : undefined };
}

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
