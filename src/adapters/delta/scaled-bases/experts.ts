import { multiply } from "../../../compute/rows/arithmetic.ts";
import { recordStridedSums } from "../../../compute/tensor/strided-sums.ts";
import { sliceCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { AdapterContext, TrainedModule } from "./factored.ts";
import { type AdaptedRow, addFewRows, addScaledRows, type RowFactors } from "./few-rows.ts";
import type { BilinearShape } from "./shape.ts";
import type { Device } from "../../../compute/device/device.ts";
import { recordCopy } from "../../../compute/tensor/elementwise.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { GroupedProjection } from "../../../models/blocks/linears.ts";
import { putPairs, takePairs } from "../../../models/blocks/row-linears.ts";
import type { FusedPart } from "../through-weights/held.ts";

/** λ and γ of rows: those of a row, padding included, are one row. */
interface StackedFactors {
  readonly lambda: Tensor;
  readonly gamma: Tensor;
}

/** Commands of λ and γ that rows of a module take by {@link stackedFactors}, however many they are. */
function stackedCommands({ bases }: AdapterContext, { bases: n, r, tall }: BilinearShape): number {
  if (!tall) return n + 1;
  return n + (bases.pairing === "peft" ? r : n);
}

/**
 * Commands of each basis, or of each row of A, in place of each row's: a prompt has thousands of rows. Every element is the same
 * product or sum, so that a row has the bits that it has among few.
 */
function stackedFactors(
  { bases: { pairing, unit }, scale }: AdapterContext,
  { bases: n, r }: BilinearShape,
  { lambda, gamma }: StackedFactors,
): RowFactors {
  const [lambdaPitch, gammaPitch] = [lambda.shape[1] / r, gamma.shape[1] / n];
  const isPeft = pairing === "peft";
  return {
    multiplyGamma(run, x, y) {
      for (let basis = 0; basis < n; basis++) {
        const own = { ...from(gamma, basis * gammaPitch), shape: x.shape };
        run.compute("elementwise", { kernel: multiply.kernel(), tensors: { a: x, b: own, y: ofBasis(y, basis, n) } });
      }
    },
    addByLambda(run, products, inner) {
      const { pitch } = products;
      // A command fills columns of B̂ that lie side by side.
      const [count, cols, ofX, ofW] = isPeft
        ? [r, n, { each: 1, col: pitch }, { each: lambdaPitch, col: 1 }]
        : [n, r, { each: pitch, col: 1 }, { each: 1, col: lambdaPitch }];
      for (let at = 0; at < count; at++) {
        recordStridedSums(run, {
          x: { of: from(products, at * ofX.each), steps: { row: n * pitch, col: ofX.col, term: 0 } },
          w: { of: from(lambda, at * ofW.each), steps: { row: lambda.pitch, col: ofW.col, term: 0 } },
          y: { ...from(inner, at * cols), shape: [inner.shape[0], cols] },
          terms: 1,
          scale,
          accumulate: true,
        });
      }
    },
    multiplyLambda(run, inner, y) {
      for (let basis = 0; basis < n; basis++) {
        const [first, col] = isPeft ? [basis, n] : [basis * r, 1];
        recordStridedSums(run, {
          x: { of: from(inner, first), steps: { row: inner.pitch, col, term: 0 } },
          w: { of: from(lambda, basis), steps: { row: lambda.pitch, col: lambdaPitch, term: 0 } },
          y: ofBasis(y, basis, n),
          terms: 1,
          scale: 1,
        });
      }
    },
    addByGamma(run, products, y) {
      recordStridedSums(run, {
        x: { of: products, steps: { row: n * products.pitch, col: 1, term: products.pitch } },
        w: { of: gamma, steps: { row: gamma.pitch, col: 1, term: gammaPitch } },
        y,
        terms: n,
        scale: scale * unit,
        accumulate: true,
      });
    },
  };
}

/** A tensor from this element on. */
function from(tensor: Tensor, first: number): Tensor {
  return { ...tensor, offset: tensor.offset + first };
}

/** The rows of one basis. */
function ofBasis(rows: Tensor, basis: number, n: number): Tensor {
  const { shape, pitch } = rows;
  return { ...from(rows, basis * pitch), shape: [shape[0] / n, shape[1]], pitch: n * pitch };
}

/** Bytes of γ that are copied to rows at a time, where those of a token do not take more. */
const GAMMA_BYTES = 32 * 2 ** 20;

/** The same module of each expert. */
export interface ExpertModules {
  readonly shape: TrainedModule["shape"];
  /** Its first column of an expert's product. */
  readonly column: number;
  /** λ and γ of an expert in each row, with the elements between rows of theirs; zeros where an expert is not adapted. */
  readonly lambda: StackedRows;
  readonly gamma: StackedRows;
}

interface StackedRows {
  readonly tensor: Tensor;
  /** What is copied there once parameters are known: none where they lie so themselves. */
  readonly copies: readonly { readonly from: Tensor; readonly to: Tensor }[];
}

/** @param parts of a matrix of so many experts. @throws RandloraError `memory` */
export function modulesOfExperts(
  gpu: Device,
  rows: number,
  experts: number,
  parts: readonly FusedPart<TrainedModule>[],
): ExpertModules[] {
  const each = rows / experts;
  return [...Map.groupBy(parts, ({ first }) => first % each)].map(([column, own]) => {
    const byExpert = new Map(own.map(({ module, first }) => [Math.floor(first / each), module]));
    const modules = Array.from({ length: experts }, (_, expert) => byExpert.get(expert));
    const stack = (name: "lambda" | "gamma") =>
      stackRows(
        gpu,
        name,
        modules.map((module) => module?.[name]),
      );
    return { shape: itemAt(own, 0).module.shape, column, lambda: stack("lambda"), gamma: stack("gamma") };
  });
}

/** Records what has to be copied of λ and γ. */
export function prepareExperts(run: Run, { lambda, gamma }: ExpertModules): void {
  for (const { from, to } of [...lambda.copies, ...gamma.copies]) {
    recordCopy(run, from, to);
  }
}

/** Records y += x ΔWᵀ of rows of experts: each goes through λ and γ of its own, so that no other expert takes time. */
export function addOfExperts(
  run: Run,
  context: AdapterContext,
  modules: readonly ExpertModules[],
  { x, ids, places, rowsAtMost = x.shape[0] }: Omit<GroupedProjection, "weight" | "begins">,
  y: Tensor,
): void {
  const [tokens, chosen] = ids.shape;
  for (const { shape, column, lambda, gamma } of modules) {
    const columns = sliceCols(y, column, shape.out);
    const most = Math.max(1, Math.floor(GAMMA_BYTES / (4 * gamma.tensor.shape[1] * chosen)));
    for (let first = 0; first < tokens; first += most) {
      const count = Math.min(most, tokens - first);
      const [experts, own] = [sliceRows(ids, first, count), sliceRows(places, first, count)];
      const [input, sum] = [takePairs(run, x, own), takePairs(run, columns, own)];
      const [l, g] = [takePairs(run, lambda.tensor, experts), takePairs(run, gamma.tensor, experts)];
      const some = { x: input, y: sum, rowsAtMost };
      if (2 * count * chosen > stackedCommands(context, shape)) {
        addScaledRows(run, context, shape, stackedFactors(context, shape, { lambda: l, gamma: g }), some);
      } else addFewRows(run, rowsOf(context, shape, l, g), some);
      putPairs(run, sum, own, columns);
      run.release(input, sum, l, g);
    }
  }
}

/** A token alone takes fewer commands row by row. */
function rowsOf(context: AdapterContext, shape: TrainedModule["shape"], lambda: Tensor, gamma: Tensor): AdaptedRow[] {
  const { r, bases, cols } = shape;
  return Array.from({ length: lambda.shape[0] }, (_, row) => ({
    row,
    column: 0,
    shape,
    context,
    lambda: unstacked(sliceRows(lambda, row, 1), [r, bases]),
    gamma: unstacked(sliceRows(gamma, row, 1), [bases, cols]),
  }));
}

function stackRows(gpu: Device, name: string, tensors: readonly (Tensor | undefined)[]): StackedRows {
  const [one] = tensors.filter((tensor) => tensor !== undefined);
  if (one === undefined) throw new RangeError("no expert is adapted");
  const width = one.shape[0] * one.pitch;
  const [first, second] = tensors;
  const pitch = first && second ? second.offset - first.offset : width;
  const isRegular = tensors.every(
    (tensor, at) => tensor && tensor.buffer === first?.buffer && tensor.offset === first.offset + at * pitch,
  );
  if (isRegular && pitch >= width) return { tensor: { ...one, shape: [tensors.length, width], pitch }, copies: [] };
  const buffer = gpu.memory.allocate(`${name} of experts`, tensors.length * width * 4);
  gpu.clear([buffer]);
  const all: Tensor = { buffer, dtype: "F32", shape: [tensors.length, width], offset: 0, pitch: width };
  const copies = tensors.flatMap((tensor, at) => {
    return tensor === undefined ? [] : [{ from: { ...tensor, shape: [1, width] as const }, to: sliceRows(all, at, 1) }];
  });
  return { tensor: all, copies };
}

/** A row of a stack as the matrix that it holds. */
function unstacked(row: Tensor, shape: Tensor["shape"]): Tensor {
  return { ...row, shape, pitch: row.shape[1] / shape[0] };
}
