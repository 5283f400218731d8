import { isRoundedDtype } from "../../device/dtype.ts";
import type { Gemm } from "../../device/families/products.ts";
import { type Matrix, sliceCols, sliceRows, type Tensor } from "../../device/tensor.ts";
import { matrixOf } from "../../device/ternary-rows.ts";
import { storedDtype } from "../../device/weight.ts";
import { GEMM_FLAGS, gemmKernel, integerGemmKernel } from "../kernels/gemm.ts";
import { PRODUCT_TILE } from "../kernels/product.ts";
import { bind, rowBlocks, scalesOf } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { rowsOfWork } from "../work.ts";
import { giveRounded, type RoundedRows, roundRows, takesRounded } from "./rounded-rows.ts";

/**
 * Matrices above the binding limit are taken in blocks of rows; where those run along the sum, later blocks add to y.
 */
export function gemm(on: Dispatcher, product: Gemm): void {
  const { order, a, y, bias, residual } = product;
  const b = matrixOf("gemm", product.b);
  const [rows, cols] = y.shape;
  const aTerms = a.shape[order === "TN" ? 0 : 1];
  // The axes of the product along which matrices lie in rows, and therefore in blocks of rows.
  const fitting = stepOf(on, y, residual, order === "TN" ? undefined : a);
  const rowStep = Math.min(fitting, rowsOfWork(2 * cols * aTerms, PRODUCT_TILE.rows));
  const colStep = order === "NT" ? stepOf(on, b) : cols;
  const termStep = order === "NT" ? aTerms : stepOf(on, b, order === "TN" ? a : undefined);
  const isRounded = order === "NT" && takesRounded(on, b);
  for (const [row, rowCount] of ranges(rows, rowStep)) {
    const rounded = isRounded ? roundRows(on, sliceRows(a, row, rowCount)) : undefined;
    for (const [col, colCount] of ranges(cols, colStep)) {
      for (const [term, termCount] of ranges(aTerms, termStep)) {
        const part = (tensor: Tensor) => sliceCols(sliceRows(tensor, row, rowCount), col, colCount);
        const first = term === 0;
        const onePart = {
          ...product,
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
          accumulate: product.accumulate === true || !first,
        };
        recordPart(on, onePart, rounded);
      }
    }
    if (rounded !== undefined) giveRounded(on, rounded);
  }
}

type GemmInMemory = Omit<Gemm, "b"> & { readonly b: Matrix };

/** A product whose matrices can each be bound; all of a's rows and terms may be rounded. */
function recordPart(
  on: Dispatcher,
  { order, a, b, y, scale = 1, bias, residual, accumulate }: GemmInMemory,
  rounded: RoundedRows | undefined,
): void {
  const [rows, cols] = y.shape;
  const [aBlock, bBlock, yBlock] = [bind(on, a), bind(on, b), bind(on, y)];
  const scales = scalesOf(on, b, bBlock);
  const format = b.dtype === "TERNARY" ? b.dtype : storedDtype("gemm", { ...b, dtype: b.dtype });
  const biasBlock = bias === undefined ? undefined : bind(on, bias);
  const residualBlock = residual === undefined ? undefined : bind(on, residual);
  on.dispatch(
    rounded !== undefined && isRoundedDtype(b.dtype) ? integerGemmKernel(b.dtype) : gemmKernel(order, format),
    {
      rows,
      cols,
      terms: a.shape[order === "TN" ? 0 : 1],
      flags:
        (bias === undefined ? 0 : GEMM_FLAGS.hasBias) |
        (residual === undefined ? 0 : GEMM_FLAGS.hasResidual) |
        (accumulate === true ? GEMM_FLAGS.accumulate : 0),
      a: rounded === undefined ? aBlock : { offset: 0, pitch: 2 * rounded.halves.pitch },
      b: bBlock,
      y: yBlock,
      biasAt: biasBlock?.offset ?? 0,
      residual: residualBlock,
      scale,
      scalesAt: scales.at,
      aScalesPitch: rounded?.scales.pitch ?? 0,
    },
    [
      rounded === undefined ? aBlock : rounded.halves,
      bBlock,
      biasBlock,
      residualBlock,
      yBlock,
      ...scales.bindings,
      ...(rounded === undefined ? [] : [rounded.scales]),
    ],
    [Math.ceil(cols / PRODUCT_TILE.cols), Math.ceil(rows / PRODUCT_TILE.rows)],
    2 * rows * cols * a.shape[order === "TN" ? 0 : 1],
  );
}

/** Rows of these matrices that can be bound together. */
function stepOf(on: Dispatcher, ...tensors: readonly (Matrix | undefined)[]): number {
  return tensors.reduce(
    (least, tensor) => (tensor === undefined ? least : Math.min(least, rowBlocks(on, tensor)[0]?.rows ?? 0)),
    Infinity,
  );
}

function ranges(total: number, step: number): [first: number, count: number][] {
  const parts: [number, number][] = [];
  for (let first = 0; first < total; first += step) parts.push([first, Math.min(step, total - first)]);
  return parts;
}
