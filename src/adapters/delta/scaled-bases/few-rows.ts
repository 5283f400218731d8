import { recordZero } from "../../../compute/tensor/fill.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { recordScaleColumns } from "../../../compute/tensor/scale-columns.ts";
import { recordStridedSums } from "../../../compute/tensor/strided-sums.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { type AdapterContext, recordIntoBasis, recordOutOfBasis, type TrainedModule } from "./factored.ts";

/** Rows of a batch up to which Ŝ is not formed: it takes as long as multiplying so many rows by it in parts. */
export const FEW_ROWS = 8;

/** What is worked on: some rows of a pass. */
interface FewRows {
  /** (rows, in) F32. */
  readonly x: Tensor;
  /** (rows, out) F32, added to. */
  readonly y: Tensor;
  /** Rows of the largest pass of the batch; see OPS.linear. */
  readonly rowsAtMost: number;
}

/**
 * Records y += x ΔWᵀ without Ŝ: its rows λ[k, j]·A[k]⊙γ[j] come to A times x⊙γ[j], times λ, so that A, which all modules share, stays in
 * the processor's caches.
 */
export function addFewRows(run: Run, context: AdapterContext, module: TrainedModule, rows: FewRows): void {
  const { shape } = module;
  const inner = run.allocate("inner product", [rows.x.shape[0], shape.terms]);
  if (shape.tall) {
    recordIntoScaledA(run, context, module, rows, inner);
    recordOutOfBasis(run, context, module, inner, rows.y, true);
  } else {
    recordIntoBasis(run, context, module, rows.x, inner);
    addOutOfScaledA(run, context, module, inner, rows.y);
  }
  run.release(inner);
}

/** Records inner = x Ŝᵀ: (rows, n·r). */
function recordIntoScaledA(
  run: Run,
  { bases }: AdapterContext,
  { shape, lambda, gamma }: TrainedModule,
  { x, rowsAtMost }: FewRows,
  inner: Tensor,
): void {
  const [count] = x.shape;
  const { bases: n, r, cols } = shape;
  const scaled = run.allocate("x by γ", [count * n, cols]);
  for (let row = 0; row < count; row++) {
    recordScaleColumns(run, { x: gamma, scale: sliceRows(x, row, 1), y: sliceRows(scaled, row * n, n) });
  }
  const products = run.allocate("products with A", [count * n, r]);
  const bare = { bias: undefined, residual: undefined, scale: 1, rowsAtMost: rowsAtMost * n };
  run.compute("linear", { x: scaled, weight: firstColumns(bases.a, cols), ...bare, y: products });
  // In the order of B̂'s columns, rows of which are no whole vectors: nothing but the sums is written.
  recordZero(run, inner);
  const { pitch } = products;
  for (let row = 0; row < count; row++) {
    const of = sliceRows(products, row * n, n);
    const to = { ...sliceRows(inner, row, 1) };
    const common = { terms: 1, scale: 1, accumulate: true };
    if (bases.pairing === "peft") {
      const x = { of, steps: { row: 1, col: pitch, term: 0 } };
      const w = { of: lambda, steps: { row: lambda.pitch, col: 1, term: 0 } };
      recordStridedSums(run, { x, w, y: { ...to, shape: [r, n], pitch: n }, ...common });
    } else {
      const x = { of, steps: { row: pitch, col: 1, term: 0 } };
      const w = { of: lambda, steps: { row: 1, col: lambda.pitch, term: 0 } };
      recordStridedSums(run, { x, w, y: { ...to, shape: [n, r], pitch: r }, ...common });
    }
  }
  run.release(scaled, products);
}

/** Records y += scale · inner Ŝ: (rows, out). */
function addOutOfScaledA(
  run: Run,
  { bases, scale }: AdapterContext,
  { shape, lambda, gamma }: TrainedModule,
  inner: Tensor,
  y: Tensor,
): void {
  const [count] = inner.shape;
  const { bases: n, r, cols } = shape;
  const scaled = run.allocate("inner product by λ", [count * n, r]);
  const steps = bases.pairing === "peft" ? { row: 1, col: n, term: 0 } : { row: r, col: 1, term: 0 };
  const w = { of: lambda, steps: { row: 1, col: lambda.pitch, term: 0 } };
  for (let row = 0; row < count; row++) {
    const to = sliceRows(scaled, row * n, n);
    recordStridedSums(run, { x: { of: sliceRows(inner, row, 1), steps }, w, y: to, terms: 1, scale: 1 });
  }
  const products = run.allocate("products with A", [count * n, cols]);
  recordGemm(run, { order: "NN", a: scaled, b: firstColumns(bases.a, cols), y: products });
  for (let row = 0; row < count; row++) {
    recordStridedSums(run, {
      x: { of: sliceRows(products, row * n, n), steps: { row: 0, col: 1, term: products.pitch } },
      w: { of: gamma, steps: { row: 0, col: 1, term: gamma.pitch } },
      y: sliceRows(y, row, 1),
      terms: n,
      scale: scale * bases.unit,
      accumulate: true,
    });
  }
  run.release(scaled, products);
}

/** Those that a module has of A; what lies behind them is finite, and multiplied by zeros. */
function firstColumns(a: Tensor, cols: number): Tensor {
  return { ...a, shape: [a.shape[0], cols] };
}
