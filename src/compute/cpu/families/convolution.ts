import type { Convolution, ConvolutionGradient, TailConvolution } from "../../device/families/convolution.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

/** y = gate · (bias + Σ weight · x); of the gradients `dy` is given, and y is where one goes. */
export const CONVOLUTION = cpuKernel("convolution", {
  tokens: "u32",
  cols: "u32",
  /** Of each column. */
  taps: "u32",
  firstPosition: "u32",
  x: "matrix",
  gate: "matrix",
  weight: "row",
  bias: "row",
  first: "row",
  last: "row",
  dy: "matrix",
  y: "target",
  pieceRows: "u32",
});

export const CONVOLUTION_ROWS = { ...CONVOLUTION, name: "convolutionRows" } as const;
export const CONVOLUTION_TAPS = { ...CONVOLUTION, name: "convolutionTaps" } as const;

/** What all three are given. @param like of the shape of the gate */
function given({ x, gate, weight, first }: Pick<Convolution, "x" | "gate" | "weight" | "first">, like: Tensor) {
  const [tokens, cols] = like.shape;
  const taps = weight.shape[1] / cols;
  return {
    pieces: rowPieces(tokens, cols * taps),
    values: {
      tokens,
      cols,
      taps,
      x,
      gate,
      weight,
      first,
    },
  };
}

export function convolution(on: Dispatcher, { bias, last, firstPosition, y, ...operands }: Convolution): void {
  const { values, pieces } = given(operands, y);
  on.dispatch(
    CONVOLUTION,
    { ...values, firstPosition, bias, last, dy: undefined, y, pieceRows: pieces.pieceRows },
    pieces.count,
  );
}

export function convolutionGradient(on: Dispatcher, { dy, dx, dweight, ...operands }: ConvolutionGradient): void {
  const { values, pieces } = given(operands, dy);
  const all = {
    ...values,
    firstPosition: 0,
    bias: undefined,
    last: undefined,
    dy,
  };
  if (dx !== undefined) {
    const y = { y: dx, pieceRows: pieces.pieceRows };
    on.dispatch(CONVOLUTION_ROWS, { ...all, ...y }, pieces.count);
  }
  if (dweight !== undefined) {
    const y = { y: dweight, pieceRows: 0 };
    on.dispatch(CONVOLUTION_TAPS, { ...all, ...y }, Math.ceil(values.cols / 4));
  }
}

export const TAIL_CONVOLUTION = cpuKernel("tailConvolution", {
  tokens: "u32",
  cols: "u32",
  taps: "u32",
  block: "u32",
  firstPosition: "u32",
  x: "matrix",
  weight: "row",
  first: "row",
  rows: "row",
  tails: "target",
  y: "target",
  /** Columns of a piece, a multiple of 4, and pieces side by side. */
  pieceCols: "u32",
  pieces: "u32",
});

/** Columns that a piece of a convolution over tails takes. */
const TAIL_COLUMNS = 256;

export function tailConvolution(on: Dispatcher, operands: TailConvolution): void {
  const { x, weight, tails, block, first, rows, firstPosition, y } = operands;
  const [tokens, cols] = x.shape;
  const pieces = Math.ceil(cols / TAIL_COLUMNS);
  on.dispatch(
    TAIL_CONVOLUTION,
    {
      tokens,
      cols,
      taps: weight.shape[1] / cols,
      block,
      firstPosition,
      x,
      weight,
      first,
      rows,
      tails,
      y,
      pieceCols: TAIL_COLUMNS,
      pieces,
    },
    pieces * (rows === undefined ? 1 : tokens),
  );
}
