import { GEMM_FLAGS, gemmKernel, type GemmOrder, gemmParameters } from "../kernels/gemm.ts";
import { requireShapes } from "./op.ts";
import { type Run } from "./run.ts";
import { sliceCols, sliceRows, type Tensor } from "./tensor.ts";
import { weightDtype } from "./weight.ts";
import { productTile } from "../kernels/product.ts";
import { rowBlocks, bind } from "./row-blocks.ts";

/** A product of matrices. Operands may be views; the buffer of y must not be that of another operand. */
export interface Gemm {
  /** NT: y = a (M, K) · b (N, K)ᵀ. NN: y = a (M, K) · b (K, N). TN: y = a (K, M)ᵀ · b (K, N). */
  readonly order: GemmOrder;
  /** F32. */
  readonly a: Tensor;
  /** F32, F16 or BF16. */
  readonly b: Tensor;
  /** (M, N) F32. */
  readonly y: Tensor;
  /** Of the product; 1 by default. */
  readonly scale?: number | undefined;
  /** (1, N) F32, added to every row. */
  readonly bias?: Tensor | undefined;
  /** (M, N) F32, added. */
  readonly residual?: Tensor | undefined;
  /** Adds to what y holds instead of assigning. */
  readonly accumulate?: boolean | undefined;
}

/**
 * Records y = scale · product + bias + residual (+ y), with sums in blocks of at most 256 terms. Matrices above the
 * binding limit are taken in blocks of rows; where those run along the sum, later blocks add to y. Padding columns of
 * y become zero, and nothing is written beyond them.
 * @throws RandloraError `model` when the shapes do not fit
 */
export function recordGemm(run: Run, gemm: Gemm): void {
  const { order, a, b, y, bias, residual } = gemm;
  const [rows, cols] = y.shape;
  const [aRows, aTerms] = order === "TN" ? [a.shape[1], a.shape[0]] : a.shape;
  const [bCols, bTerms] = order === "NT" ? b.shape : [b.shape[1], b.shape[0]];
  const fits =
    aRows === rows &&
    bCols === cols &&
    aTerms === bTerms &&
    (bias === undefined || (bias.shape[0] === 1 && bias.shape[1] === cols)) &&
    (residual === undefined || (residual.shape[0] === rows && residual.shape[1] === cols));
  const shapes = { a: a.shape, b: b.shape, bias: bias?.shape, residual: residual?.shape, y: y.shape };
  requireShapes(`gemm ${order}`, shapes, fits, "these cannot be multiplied and added");

  // The axes of the product along which matrices lie in rows, and therefore in blocks of rows.
  const rowStep = stepOf(run, y, residual, order === "TN" ? undefined : a);
  const colStep = order === "NT" ? stepOf(run, b) : cols;
  const termStep = order === "NT" ? aTerms : stepOf(run, b, order === "TN" ? a : undefined);
  for (const [row, rowCount] of ranges(rows, rowStep)) {
    for (const [col, colCount] of ranges(cols, colStep)) {
      for (const [term, termCount] of ranges(aTerms, termStep)) {
        const part = (tensor: Tensor) => sliceCols(sliceRows(tensor, row, rowCount), col, colCount);
        const first = term === 0;
        recordPart(run, {
          ...gemm,
          a:
            order === "TN"
              ? sliceCols(sliceRows(a, term, termCount), row, rowCount)
              : sliceCols(sliceRows(a, row, rowCount), term, termCount),
          b:
            order === "NT"
              ? sliceCols(sliceRows(b, col, colCount), term, termCount)
              : sliceCols(sliceRows(b, term, termCount), col, colCount),
          y: part(y),
          bias: bias === undefined || !first ? undefined : sliceCols(bias, col, colCount),
          residual: residual === undefined || !first ? undefined : part(residual),
          accumulate: gemm.accumulate === true || !first,
        });
      }
    }
  }
}

/** A product whose matrices can each be bound. */
function recordPart(run: Run, { order, a, b, y, scale = 1, bias, residual, accumulate }: Gemm): void {
  const [rows, cols] = y.shape;
  const tile = productTile(run.staging);
  const [aBlock, bBlock, yBlock] = [bind(run, a), bind(run, b), bind(run, y)];
  const biasBlock = bias === undefined ? undefined : bind(run, bias);
  const residualBlock = residual === undefined ? undefined : bind(run, residual);
  run.dispatch(
    gemmKernel(run.staging, order, weightDtype("gemm", b)),
    gemmParameters({
      rows,
      cols,
      terms: a.shape[order === "TN" ? 0 : 1],
      flags:
        (bias === undefined ? 0 : GEMM_FLAGS.hasBias) |
        (residual === undefined ? 0 : GEMM_FLAGS.hasResidual) |
        (accumulate === true ? GEMM_FLAGS.accumulate : 0),
      a: [aBlock.offset / 4, a.pitch / 4],
      b: [bBlock.offset / 4, b.pitch / 4],
      y: [yBlock.offset / 4, y.pitch / 4],
      biasAt: (biasBlock?.offset ?? 0) / 4,
      residual: [(residualBlock?.offset ?? 0) / 4, (residual?.pitch ?? 0) / 4],
      scale,
    }),
    [
      aBlock.binding,
      bBlock.binding,
      biasBlock?.binding ?? run.nothing,
      residualBlock?.binding ?? run.nothing,
      yBlock.binding,
    ],
    [Math.ceil(cols / tile.cols), Math.ceil(rows / tile.rows)],
  );
}

/** Rows of these matrices that can be bound together. */
function stepOf(run: Run, ...tensors: readonly (Tensor | undefined)[]): number {
  return tensors.reduce(
    (least, tensor) => (tensor === undefined ? least : Math.min(least, rowBlocks(run, tensor)[0]?.rows ?? 0)),
    Infinity,
  );
}

function ranges(total: number, step: number): [first: number, count: number][] {
  const parts: [number, number][] = [];
  for (let first = 0; first < total; first += step) parts.push([first, Math.min(step, total - first)]);
  return parts;
}
