import { RandloraError } from "../errors.ts";
import type { Run } from "./run.ts";
import { type Shape, showShape, type Tensor, type TensorDtype } from "./tensor.ts";

/** Names of an op's operands, and which of them may be left out. */
export type Roles = Readonly<Record<string, "needed" | "optional">>;

/** A value for every operand: `Of<Roles, Tensor>` on the GPU, `Of<Roles, Matrix>` in f64, `Of<Roles, Shape>`. */
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

/**
 * One operation: shapes in, shapes out; the same function on the GPU and, plainly, in f64. It is a pure function of
 * its operands; activations are assigned (=), never added to.
 *
 * The registry (ops/index.ts) keeps each op's own type. Training adds a member `backward` here: every op that lacks it
 * then fails to compile.
 */
export interface Op<I extends Roles, A, O extends Roles> {
  readonly name: string;
  readonly roles: { readonly inputs: I; readonly outputs: O };
  /** Shapes of the outputs. @throws RandloraError `model` naming the op and the shapes that do not fit */
  shape(inputs: Of<I, Shape>, attributes: A): Of<O, OutputShape>;
  /** Records the kernels that fill `outputs`. */
  forward(run: Run, inputs: Of<I, Tensor>, attributes: A, outputs: Of<O, Tensor>): void;
  /** The definition, in f64. */
  reference(inputs: Of<I, Matrix>, attributes: A): Of<O, Matrix>;
}

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
