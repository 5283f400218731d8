import { RandloraError } from "../../files/errors.ts";
import type { Matrix, Roles } from "./roles.ts";
import type { Op } from "./run.ts";
import { type Shape, showShape } from "./tensor.ts";

export type { Matrix, Of, OutputShape, Roles } from "./roles.ts";
export type { Backward, Derivative, Op, Some } from "./run.ts";

/** Declares an op: `defineOp({ inputs, outputs })<Attributes>({ name, shape, forward, reference })`. */
export function defineOp<const I extends Roles, const O extends Roles>(roles: {
  readonly inputs: I;
  readonly outputs: O;
}) {
  return <A>(op: Omit<Op<I, A, O>, "roles">): Op<I, A, O> => ({ ...op, roles });
}

/** Throws unless `fits`: the error names the op and every operand's shape. */
export function requireShapes(
  op: string,
  inputs: Readonly<Record<string, Shape | undefined>>,
  fits: boolean,
  rule: string,
): void {
  if (fits) return;
  const shapes = Object.entries(inputs)
    .filter((entry): entry is [string, Shape] => entry[1] !== undefined)
    .map(([name, shape]) => `${name} ${showShape(shape)}`);
  throw new RandloraError("model", `${op}: ${shapes.join(", ")}: ${rule}`);
}

/** A matrix of zeros. */
export function zeros(rows: number, cols: number): Matrix {
  return { shape: [rows, cols], data: new Float64Array(rows * cols) };
}

/** Element (row, col). */
export function at(matrix: Matrix, row: number, col: number): number {
  return matrix.data[row * matrix.shape[1] + col] ?? NaN;
}

/** A matrix from a function of (row, col). */
export function matrixOf(rows: number, cols: number, value: (row: number, col: number) => number): Matrix {
  const data = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) for (let col = 0; col < cols; col++) data[row * cols + col] = value(row, col);
  return { shape: [rows, cols], data };
}
