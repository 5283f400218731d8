import { scaleColumns } from "../../../compute/rows/arithmetic.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { partCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { type AdapterContext, recordIntoBasis, recordOutOfBasis, type TrainedModule } from "./factored.ts";
import type { BilinearShape } from "./shape.ts";
import { recordStridedSums } from "../../../compute/tensor/strided-sums.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { TrainingBases } from "./training-bases.ts";

/** What is worked on: some rows of a pass. */
interface ScaledRows {
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

/**
 * Records y += x ΔWᵀ of rows that may be of several adapters; all of them are multiplied with the bases at once.
 * @param adapted in the order of the rows; some may go through none of a matrix's modules, or through some of them
 */
export function addFewRows(run: Run, adapted: readonly AdaptedRow[], { x, y, rowsAtMost }: ScaledRows): void {
  const alike = Map.groupBy(adapted, ({ column, shape }) => `${column} ${Object.values(shape).join(" ")}`);
  for (const modules of [...alike.values()].flatMap(consecutive)) {
    const { row, column, shape, context } = itemAt(modules, 0);
    const count = modules.length;
    const rows = {
      x: sliceRows(x, row, count),
      y: partCols(sliceRows(y, row, count), column, shape.out),
      rowsAtMost,
    };
    addScaledRows(run, context, shape, factorsOf(context.bases, modules), rows);
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

/** Commands of each row. */
function factorsOf({ pairing, unit }: TrainingBases, modules: readonly AdaptedRow[]): RowFactors {
  const { bases: n, r } = itemAt(modules, 0).shape;
  return {
    multiplyGamma(run, x, y) {
      for (const [row, { gamma }] of modules.entries()) {
        const tensors = { x: gamma, scale: sliceRows(x, row, 1), y: sliceRows(y, row * n, n) };
        run.compute("elementwise", { kernel: scaleColumns.kernel(), tensors });
      }
    },
    addByLambda(run, products, inner) {
      const { pitch } = products;
      for (const [row, { lambda, context }] of modules.entries()) {
        const of = sliceRows(products, row * n, n);
        const to = sliceRows(inner, row, 1);
        const common = { terms: 1, scale: context.scale, accumulate: true };
        if (pairing === "peft") {
          const x = { of, steps: { row: 1, col: pitch, term: 0 } };
          const w = { of: lambda, steps: { row: lambda.pitch, col: 1, term: 0 } };
          recordStridedSums(run, { x, w, y: { ...to, shape: [r, n], pitch: n }, ...common });
        } else {
          const x = { of, steps: { row: pitch, col: 1, term: 0 } };
          const w = { of: lambda, steps: { row: 1, col: lambda.pitch, term: 0 } };
          recordStridedSums(run, { x, w, y: { ...to, shape: [n, r], pitch: r }, ...common });
        }
      }
    },
    multiplyLambda(run, inner, y) {
      const steps = pairing === "peft" ? { row: 1, col: n, term: 0 } : { row: r, col: 1, term: 0 };
      for (const [row, { lambda }] of modules.entries()) {
        const w = { of: lambda, steps: { row: 1, col: lambda.pitch, term: 0 } };
        const to = sliceRows(y, row * n, n);
        recordStridedSums(run, { x: { of: sliceRows(inner, row, 1), steps }, w, y: to, terms: 1, scale: 1 });
      }
    },
    addByGamma(run, products, y) {
      for (const [row, { gamma, context }] of modules.entries()) {
        recordStridedSums(run, {
          x: { of: sliceRows(products, row * n, n), steps: { row: 0, col: 1, term: products.pitch } },
          w: { of: gamma, steps: { row: 0, col: 1, term: gamma.pitch } },
          y: sliceRows(y, row, 1),
          terms: n,
          scale: context.scale * unit,
          accumulate: true,
        });
      }
    },
  };
}
