import type { LayerNorm, LayerNormGradient, RmsNorm, RmsNormGradient } from "../../device/families/norms.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import { columnSums } from "./columns.ts";

/** y = x / √(mean(x²) + ε) · (offset + weight), each segment by itself. */
export const RMS_NORM = cpuKernel("rmsNorm", {
  rows: "u32",
  segments: "u32",
  /** Elements of a segment. */
  cols: "u32",
  x: "matrix",
  weight: "row",
  y: "target",
  offset: "f32",
  epsilon: "f32",
  pieceRows: "u32",
});

/** With s = 1 / √(mean(x²) + ε) and h = dy · (offset + weight): dx = s · (h − x · s² · mean(h · x)), and s itself. */
export const RMS_NORM_GRADIENT = cpuKernel("rmsNormGradient", {
  rows: "u32",
  segments: "u32",
  cols: "u32",
  x: "matrix",
  weight: "row",
  dy: "matrix",
  dx: "target",
  /** (rows · segments), or nothing. */
  scales: "targetRow",
  offset: "f32",
  epsilon: "f32",
  pieceRows: "u32",
});

/** y = (x − mean) / √(variance + ε) · weight + bias; the bias may be left out. */
export const LAYER_NORM = cpuKernel("layerNorm", {
  rows: "u32",
  cols: "u32",
  x: "matrix",
  weight: "row",
  bias: "row",
  y: "target",
  epsilon: "f32",
  pieceRows: "u32",
});

/**
 * With n = (x − mean) / √(variance + ε) and h = dy · weight: dx = (h − mean(h) − n · mean(h · n)) / √(variance + ε), and
 * dy · n, whose sums down columns are the gradient by the weight.
 */
export const LAYER_NORM_GRADIENT = cpuKernel("layerNormGradient", {
  rows: "u32",
  cols: "u32",
  x: "matrix",
  weight: "row",
  dy: "matrix",
  dx: "target",
  products: "target",
  epsilon: "f32",
  pieceRows: "u32",
});

export function rmsNorm(on: Dispatcher, { x, weight, epsilon, offset, y }: RmsNorm): void {
  const [rows, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(
    RMS_NORM,
    { rows, segments: cols / weight.shape[1], cols: weight.shape[1], x, weight, y, offset, epsilon, pieceRows },
    count,
  );
}

export function rmsNormGradient(on: Dispatcher, operands: RmsNormGradient): void {
  const { x, weight, dy, epsilon, offset, dx, dweight } = operands;
  const [rows, cols] = x.shape;
  const segments = cols / weight.shape[1];
  const scales = dweight && takeScratch(on, "rms-norm.scales", [1, rows * segments]);
  const { pieceRows, count } = rowPieces(rows, 2 * cols);
  on.dispatch(
    RMS_NORM_GRADIENT,
    { rows, segments, cols: weight.shape[1], x, weight, dy, dx, scales, offset, epsilon, pieceRows },
    count,
  );
  if (dweight === undefined || scales === undefined) return;
  columnSums(on, { a: x, times: { b: dy, factors: scales }, segments, y: dweight });
  giveScratch(on, scales);
}

export function layerNorm(on: Dispatcher, { x, weight, bias, epsilon, y }: LayerNorm): void {
  const [rows, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(LAYER_NORM, { rows, cols, x, weight, bias, y, epsilon, pieceRows }, count);
}

export function layerNormGradient(on: Dispatcher, operands: LayerNormGradient): void {
  const { x, weight, dy, epsilon, dx, dweight } = operands;
  const [rows, cols] = x.shape;
  const products = dweight && takeScratch(on, "layer-norm.products", [rows, cols]);
  const { pieceRows, count } = rowPieces(rows, 2 * cols);
  on.dispatch(LAYER_NORM_GRADIENT, { rows, cols, x, weight, dy, dx, products, epsilon, pieceRows }, count);
  if (dweight === undefined || products === undefined) return;
  columnSums(on, { a: products, y: dweight });
  giveScratch(on, products);
}
