import type { DeltaBasis } from "./families/delta.ts";
import type { Matrix, Shape, Tensor } from "./tensor.ts";

/**
 * Rows of a basis of −1, 0 and 1 as they lie, as an operand of products. Stored ones every device takes; those that are drawn only
 * one that `skipsZeros`: for others they are unpacked to numbers first.
 */
export interface TernaryRows {
  readonly basis: DeltaBasis;
  /** Rows of the basis before these. */
  readonly first: number;
  readonly shape: Shape;
}

/** Are its elements −1, 0 and 1, but for what they are multiplied by? */
export function isTernary({ storage, philox }: Pick<DeltaBasis, "storage" | "philox">): boolean {
  return storage === "ternary" || (philox !== undefined && philox.sparsity !== "dense");
}

/** The share of its elements that are not zero: bases are drawn with a standard deviation of 1, so its inverse is the squared size of these. */
export function ternaryDensity({ value }: Pick<DeltaBasis, "value">): number {
  return Math.min(1, 1 / value ** 2);
}

export function isTernaryRows(operand: Tensor | TernaryRows): operand is TernaryRows {
  return "basis" in operand;
}

/**
 * An operand as it lies in memory: numbers, or the codes of a ternary basis.
 * @throws Error for rows that are drawn, which were meant for another device
 */
export function matrixOf(op: string, operand: Tensor | TernaryRows): Matrix {
  if (!isTernaryRows(operand)) return operand;
  const { basis, first, shape } = operand;
  const { buffer, storage, stride } = basis;
  if (storage !== "ternary") throw new Error(`${op}: ${buffer.label} is drawn, and not unpacked`);
  return { shape, dtype: "TERNARY", buffer, offset: first * stride, pitch: stride };
}
