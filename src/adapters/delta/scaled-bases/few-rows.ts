import { recordZero } from "../../../compute/tensor/fill.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { recordScaleColumns } from "../../../compute/tensor/scale-columns.ts";
import { recordStridedSums } from "../../../compute/tensor/strided-sums.ts";
import { sliceCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import { type AdapterContext, recordIntoBasis, recordOutOfBasis, type TrainedModule } from "./factored.ts";
import type { TrainingBases } from "./training-bases.ts";

/** Rows of a batch that are few whatever the rank is, and that are many. */
const [FEW, MANY] = [8, 33];

/** Is a batch of so many rows multiplied by Ŝ in parts? Of one adapter, r rows by γ have as many elements as Ŝ. */
export function areFew(rowsAtMost: number, r: number): boolean {
  return rowsAtMost <= FEW || (rowsAtMost <= r && rowsAtMost < MANY);
}

/** A row of a pass, and a module of its adapter that it goes through: ΔW = scale · B̂Ŝ. Adapters of one call have the same bases. */
export interface AdaptedRow extends Pick<TrainedModule, "shape" | "lambda" | "gamma"> {
  readonly row: number;
  /** Where the module's columns begin in those of the matrix. */
  readonly column: number;
  readonly context: AdapterContext;
}

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
 * the processor's caches, and rows of several adapters are multiplied with the bases at once.
 * @param adapted in the order of the rows; some may go through none of a matrix's modules, or through some of them
 */
export function addFewRows(run: Run, adapted: readonly AdaptedRow[], { x, y, rowsAtMost }: FewRows): void {
  const alike = Map.groupBy(adapted, ({ column, shape }) => `${column} ${Object.values(shape).join(" ")}`);
  for (const modules of [...alike.values()].flatMap(consecutive)) {
    const { row, column, shape, context } = itemAt(modules, 0);
    const { bases } = context;
    const unscaled = { ...context, scale: 1 };
    const count = modules.length;
    const rows = {
      x: sliceRows(x, row, count),
      y: sliceCols(sliceRows(y, row, count), column, shape.out),
      rowsAtMost,
    };
    const inner = run.allocate("inner product", [count, shape.terms]);
    if (shape.tall) {
      recordIntoScaledA(run, bases, modules, rows, inner);
      recordOutOfBasis(run, unscaled, shape, inner, rows.y, true);
    } else {
      recordIntoBasis(run, unscaled, shape, rows.x, inner);
      addOutOfScaledA(run, bases, modules, inner, rows.y);
    }
    run.release(inner);
  }
}

/** Rows as far as each follows on the one before. */
function consecutive(rows: readonly AdaptedRow[]): AdaptedRow[][] {
  const runs: AdaptedRow[][] = [];
  for (const one of rows) {
    const last = runs.at(-1);
    if (last?.at(-1)?.row === one.row - 1) last.push(one);
    else runs.push([one]);
  }
  return runs;
}

/** Records inner = scale · x Ŝᵀ: (rows, n·r). */
function recordIntoScaledA(
  run: Run,
  bases: TrainingBases,
  modules: readonly AdaptedRow[],
  { x, rowsAtMost }: FewRows,
  inner: Tensor,
): void {
  const count = modules.length;
  const { bases: n, r, cols } = itemAt(modules, 0).shape;
  const scaled = run.allocate("x by γ", [count * n, cols]);
  for (const [row, { gamma }] of modules.entries()) {
    recordScaleColumns(run, { x: gamma, scale: sliceRows(x, row, 1), y: sliceRows(scaled, row * n, n) });
  }
  const products = run.allocate("products with A", [count * n, r]);
  const bare = { bias: undefined, residual: undefined, scale: 1, rowsAtMost: rowsAtMost * n };
  run.compute("linear", { x: scaled, weight: firstColumns(bases.a, cols), ...bare, y: products });
  // In the order of B̂'s columns, rows of which are no whole vectors: nothing but the sums is written.
  recordZero(run, inner);
  const { pitch } = products;
  for (const [row, { lambda, context }] of modules.entries()) {
    const of = sliceRows(products, row * n, n);
    const to = sliceRows(inner, row, 1);
    const common = { terms: 1, scale: context.scale, accumulate: true };
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
  bases: TrainingBases,
  modules: readonly AdaptedRow[],
  inner: Tensor,
  y: Tensor,
): void {
  const count = modules.length;
  const { bases: n, r, cols } = itemAt(modules, 0).shape;
  const scaled = run.allocate("inner product by λ", [count * n, r]);
  const steps = bases.pairing === "peft" ? { row: 1, col: n, term: 0 } : { row: r, col: 1, term: 0 };
  for (const [row, { lambda }] of modules.entries()) {
    const w = { of: lambda, steps: { row: 1, col: lambda.pitch, term: 0 } };
    const to = sliceRows(scaled, row * n, n);
    recordStridedSums(run, { x: { of: sliceRows(inner, row, 1), steps }, w, y: to, terms: 1, scale: 1 });
  }
  const products = run.allocate("products with A", [count * n, cols]);
  recordGemm(run, { order: "NN", a: scaled, b: firstColumns(bases.a, cols), y: products });
  for (const [row, { gamma, context }] of modules.entries()) {
    recordStridedSums(run, {
      x: { of: sliceRows(products, row * n, n), steps: { row: 0, col: 1, term: products.pitch } },
      w: { of: gamma, steps: { row: 0, col: 1, term: gamma.pitch } },
      y: sliceRows(y, row, 1),
      terms: n,
      scale: context.scale * bases.unit,
      accumulate: true,
    });
  }
  run.release(scaled, products);
}

/** Those that a module has of A; what lies behind them is finite, and multiplied by zeros. */
function firstColumns(a: Tensor, cols: number): Tensor {
  return { ...a, shape: [a.shape[0], cols] };
}
