import type { DeltaBasis } from "./families/delta.ts";
import type { Shape, Tensor } from "./tensor.ts";

/**
 * Rows of a basis of −1, 0 and 1 as they are stored or drawn, as an operand of products that add, subtract and skip zeros. Only
 * a device that `skipsZeros` takes it; for others elements are unpacked to numbers first.
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

export function isTernaryRows(operand: Tensor | TernaryRows): operand is TernaryRows {
  return "basis" in operand;
}

/**
 * An operand that is numbers.
 * @throws Error for rows of a ternary basis, which were meant for another device
 */
export function numbersOf(op: string, operand: Tensor | TernaryRows): Tensor {
  if (isTernaryRows(operand)) throw new Error(`${op}: ${operand.basis.buffer.label} is ternary, and not unpacked`);
  return operand;
}
