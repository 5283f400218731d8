import type { Run } from "../../../compute/tensor/run.ts";
import { recordScaleColumns } from "../../../compute/tensor/scale-columns.ts";
import { recordStridedSums } from "../../../compute/tensor/strided-sums.ts";
import { partCols, sliceRows } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { AdapterContext, TrainedModule } from "./factored.ts";
import { addScaledRows, type RowFactors, type ScaledRows } from "./scaled-rows.ts";
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
        recordScaleColumns(run, { x: gamma, scale: sliceRows(x, row, 1), y: sliceRows(y, row * n, n) });
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
