import { fromBlocks, toBlocks } from "../../device/blocks.ts";
import { isBlockDtype } from "../../device/dtype.ts";
import { roundFromF64, widenToF32 } from "../../../files/safetensors/numbers.ts";
import type { Matrix, Of, Op, Roles } from "../op.ts";
import type { TensorDtype } from "../tensor.ts";

/** An operand of a case: its values (representable in `dtype`) and how they are stored. */
export interface Operand {
  readonly matrix: Matrix;
  readonly dtype: TensorDtype;
}

/** What an op is tried on. */
export interface OpCase<I extends Roles, A> {
  readonly name: string;
  readonly inputs: Of<I, Operand>;
  readonly attributes: A;
  /** Nothing that it is given is differentiated. */
  readonly forwardOnly?: boolean;
}

/** The cases of an op, by the type of the op. */
export type CasesOf<T> = T extends Op<infer I, infer A, infer _> ? readonly OpCase<I, A>[] : never;

let seed = 1;

/** Even numbers in −size … size, rounded to what the dtype holds; new ones on every call, the same in every run. */
export function random(rows: number, cols: number, dtype: TensorDtype = "F32", size = 1): Operand {
  const data = Float64Array.from({ length: rows * cols }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed / 2 ** 31 - 1) * size;
  });
  if (dtype === "U32") throw new TypeError("ids are not random numbers");
  const blocks = dtype === "Q8_ROWS" ? "Q8_0" : dtype;
  if (isBlockDtype(blocks)) {
    const stored = fromBlocks(toBlocks(Float32Array.from(data), blocks), blocks);
    return { dtype, matrix: { shape: [rows, cols], data: Float64Array.from(stored) } };
  }
  const bytes = new Uint8Array(rows * cols * (blocks === "F32" ? 4 : 2));
  roundFromF64(data, blocks, bytes);
  const rounded = new Float32Array(data.length);
  widenToF32(bytes, blocks, rounded);
  return { dtype, matrix: { shape: [rows, cols], data: Float64Array.from(rounded) } };
}

/** A row of token ids. */
export function ids(...values: readonly number[]): Operand {
  return { dtype: "U32", matrix: { shape: [1, values.length], data: Float64Array.from(values) } };
}
