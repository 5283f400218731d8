import type { DeviceBuffer } from "../buffer.ts";
import { type Tensor, tensorIn } from "../tensor.ts";

/** Elements from row to row of y, from column to column, and from term to term. */
export interface Steps {
  readonly row: number;
  readonly col: number;
  readonly term: number;
}

/** A tensor, whose first element is the first one's, and the way from there to the others. */
export interface Strided {
  readonly of: Tensor;
  readonly steps: Steps;
}

/** y[i, j] (+)= scale · Σₜ x · w over `terms`, in blocks of at most 256 of them. */
export interface StridedProduct {
  /** F32, F16 or BF16. Where y's columns are its rows, it may be more than a command binds at once. */
  readonly x: Strided;
  /** F32; undefined: all are 1, and x is F32. */
  readonly w: Strided | undefined;
  /** F32. */
  readonly y: Tensor;
  readonly terms: number;
  readonly scale: number;
  /** Adds to what y holds instead of assigning it, padding within whole vectors included. */
  readonly accumulate?: boolean;
}

/** y += scale · Σ of partial sums, from a buffer's begin on. */
export function addedParts(
  buffer: DeviceBuffer,
  terms: number,
  steps: Steps,
  y: Tensor,
  scale: number,
): StridedProduct {
  const of = tensorIn(buffer, [1, buffer.size / 4], "F32");
  return { x: { of, steps }, w: undefined, y, terms, scale, accumulate: true };
}
