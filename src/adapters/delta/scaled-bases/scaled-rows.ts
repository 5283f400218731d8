import { recordZero } from "../../../compute/tensor/fill.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { type AdapterContext, recordIntoBasis, recordOutOfBasis } from "./factored.ts";
import type { BilinearShape } from "./shape.ts";

/** What is worked on: some rows of a pass. */
export interface ScaledRows {
  /** (rows, in) F32. */
  readonly x: Tensor;
  /** (rows, out) F32, added to. */
  readonly y: Tensor;
  /** Rows of the largest pass of the batch; see OPS.linear. */
  readonly rowsAtMost: number;
}

/** What multiplies rows by their λ and γ. Row i has rows i·n … of what is multiplied with A, one of each basis. */
export interface RowFactors {
  /** Records y = x ⊙ γ: (rows · n, cols). */
  multiplyGamma(run: Run, x: Tensor, y: Tensor): void;
  /** Records inner += scale · products ⊙ λ, from (rows · n, r) to (rows, n·r), in the order of B̂'s columns. */
  addByLambda(run: Run, products: Tensor, inner: Tensor): void;
  /** Records y = inner ⊙ λ, from (rows, n·r) to (rows · n, r). */
  multiplyLambda(run: Run, inner: Tensor, y: Tensor): void;
  /** Records y += scale · Σ products ⊙ γ over the bases: (rows, out). */
  addByGamma(run: Run, products: Tensor, y: Tensor): void;
}

/**
 * Records y += x ΔWᵀ without Ŝ: its rows λ[k, j]·A[k]⊙γ[j] come to A times x⊙γ[j], times λ, so that A, which all modules share, stays in
 * the processor's caches, and rows with different λ and γ are multiplied with the bases at once.
 */
export function addScaledRows(
  run: Run,
  context: AdapterContext,
  shape: BilinearShape,
  factors: RowFactors,
  { x, y, rowsAtMost }: ScaledRows,
): void {
  const { a } = context.bases;
  const { bases: n, r, cols, terms, tall } = shape;
  const count = x.shape[0] * n;
  const unscaled = { ...context, scale: 1 };
  // What A has behind the module's columns is finite, and multiplied by zeros.
  const ownA: Tensor = { ...a, shape: [a.shape[0], cols] };
  const inner = run.allocate("inner product", [x.shape[0], terms]);
  const scaled = run.allocate("rows by λ or γ", [count, tall ? cols : r]);
  const products = run.allocate("products with A", [count, tall ? r : cols]);
  if (tall) {
    factors.multiplyGamma(run, x, scaled);
    const bare = { bias: undefined, residual: undefined, scale: 1, rowsAtMost: rowsAtMost * n };
    run.compute("linear", { x: scaled, weight: ownA, ...bare, y: products });
    // Rows in the order of B̂'s columns are no whole vectors: nothing but the sums is written.
    recordZero(run, inner);
    factors.addByLambda(run, products, inner);
    recordOutOfBasis(run, unscaled, shape, inner, y, true);
  } else {
    recordIntoBasis(run, unscaled, shape, x, inner);
    factors.multiplyLambda(run, inner, scaled);
    recordGemm(run, { order: "NN", a: scaled, b: ownA, y: products });
    factors.addByGamma(run, products, y);
  }
  run.release(inner, scaled, products);
}
