import type { Shape, TensorDtype } from "./tensor.ts";

/** Names of an op's operands, and which of them may be left out. */
export type Roles = Readonly<Record<string, "needed" | "optional">>;

/** A value for every operand: `Of<Roles, Tensor>` on a device, `Of<Roles, Matrix>` in f64, `Of<Roles, Shape>`. */
export type Of<R extends Roles, T> = { readonly [K in keyof R]: R[K] extends "needed" ? T : T | undefined };

/** A matrix in f64, without gaps: what references compute with. Token ids are numbers, too. */
export interface Matrix {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** An output that is to be made; F32 unless said otherwise. */
export interface OutputShape {
  readonly shape: Shape;
  readonly dtype?: TensorDtype;
}
