import type { Activation } from "../../../compute/tensor/elementwise.ts";
import { plannedLinear, type PlannedMatrix, plannedVector, type Stored } from "../../tensor-plan.ts";

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
