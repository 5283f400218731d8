import type { Adapter, AdapterTensor } from "../../adapter.ts";
import { readValues } from "../../files/values.ts";

/** A matrix of f32 numbers whose rows are read, or worked out, when they are asked for. */
export interface FactorRows {
  /** For messages. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** `count` rows from `first` on, row-major. @throws RandloraError `numeric` where they are not finite, `file` */
  read(first: number, count: number): Promise<Float32Array<ArrayBuffer>>;
}

/** One adapted weight: ΔW (out, in) = scale · B·A, stored (in, out) where `conv1d`. */
export interface LowRankShape {
  readonly out: number;
  readonly in: number;
  readonly conv1d: boolean;
  readonly rank: number;
  readonly scale: number;
}

/** The same with its factors. */
export interface LowRankLayer extends LowRankShape {
  /** A (rank, in). */
  readonly a: FactorRows;
  /** B (out, rank). */
  readonly b: FactorRows;
}

/** A factor that an adapter's file holds as a matrix. */
export function storedFactor(adapter: Adapter, tensor: AdapterTensor): FactorRows {
  const [rows = 0, cols = 0] = tensor.shape;
  const { name } = tensor;
  return { name, rows, cols, read: (first, count) => readValues(adapter, tensor, first * cols, count * cols) };
}
