import type { LossSum } from "../../device/families/optimizer.ts";
import type { Nll, NllGradient } from "../../device/families/tokens.ts";
import { sliceCols, sliceRows, type Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pointer } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import { columnSums } from "./columns.ts";
import { gemm } from "./gemm.ts";

/** A block of columns of logits enters each row's state; the last one makes nll and lse of it. */
export const NLL = cpuKernel("nll", {
  rows: "u32",
  /** Of this block, and the token of its first column. */
  cols: "u32",
  first: "u32",
  logits: "matrix",
  targets: "row",
  /** (rows, 4): the maximum, the sum of exp(logit − maximum), the target's logit. */
  state: "targetRow",
  isFirst: "flag",
  isLast: "flag",
  y: "target",
  lse: "target",
  /** Logits become cap · tanh(logit / cap); 0: they do not. */
  cap: "f32",
  pieceRows: "u32",
});

/** A block of columns of logits becomes their gradient: softmax · (dy + dlse) − dy at the target, by the cap's slope. */
export const NLL_GRADIENT = cpuKernel("nllGradient", {
  rows: "u32",
  cols: "u32",
  first: "u32",
  logits: "target",
  targets: "row",
  lse: "matrix",
  /** Either may be left out. */
  dy: "matrix",
  dlse: "matrix",
  cap: "f32",
  pieceRows: "u32",
});

/** sums[slot] += weight · Σ losses, or = where it is the first; one piece. */
export const LOSS_SUM = cpuKernel("lossSum", {
  count: "u32",
  losses: "matrix",
  /** Where the sum goes. */
  to: "pointer",
  weight: "f32",
  isFirst: "flag",
});

/** Columns that enter a row's state at once. */
export const UNIT = 1024;
/** What a block of logits may take, unless one unit takes more. */
const BLOCK_BYTES = 16 * 2 ** 20;

export function nll(on: Dispatcher, { x, weight, bias, targets, softcap, y, lse }: Nll): void {
  const [rows] = x.shape;
  const [vocabulary] = weight.shape;
  const state = takeScratch(on, "nll.state", [rows, 4]);
  for (const block of blocks(rows, weight, bias)) {
    const { first, cols } = block;
    const logits = logitsOf(on, x, block);
    const { pieceRows, count } = rowPieces(rows, 4 * cols);
    on.dispatch(
      NLL,
      {
        rows,
        cols,
        first,
        logits,
        targets,
        state,
        isFirst: first === 0,
        isLast: first + cols === vocabulary,
        y,
        lse,
        cap: softcap ?? 0,
        pieceRows,
      },
      count,
    );
    giveScratch(on, logits);
  }
  giveScratch(on, state);
}

export function nllGradient(on: Dispatcher, operands: NllGradient): void {
  const { x, weight, bias, targets, softcap, lse, dy, dlse, dx, dweight, dbias } = operands;
  const [rows] = x.shape;
  for (const block of blocks(rows, weight, bias)) {
    const { first, cols } = block;
    const logits = logitsOf(on, x, block);
    const { pieceRows, count } = rowPieces(rows, 4 * cols);
    on.dispatch(
      NLL_GRADIENT,
      { rows, cols, first, logits, targets, lse, dy, dlse, cap: softcap ?? 0, pieceRows },
      count,
    );
    if (dx !== undefined) gemm(on, { order: "NN", a: logits, b: block.weight, y: dx, accumulate: first > 0 });
    if (dweight !== undefined) {
      gemm(on, { order: "TN", a: logits, b: x, y: sliceRows(dweight, first, cols), accumulate: true });
    }
    if (dbias !== undefined) columnSums(on, { a: logits, y: sliceCols(dbias, first, cols) });
    giveScratch(on, logits);
  }
}

export function lossSum(on: Dispatcher, { losses, weight, sums, slot, first }: LossSum): void {
  const { buffer, offset } = pointer(sums);
  on.dispatch(
    LOSS_SUM,
    {
      count: losses.shape[0],
      losses,
      to: { buffer, offset: offset + 4 * slot, size: 4, access: "write" },
      weight,
      isFirst: first,
    },
    1,
  );
}

/** Some rows of the output matrix, and their biases. */
interface Block {
  readonly first: number;
  readonly cols: number;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** The output matrix in blocks of rows: as many columns of logits as exist at a time. */
function blocks(rows: number, weight: Tensor, bias: Tensor | undefined): Block[] {
  const [vocabulary] = weight.shape;
  const most = UNIT * Math.max(1, Math.floor(BLOCK_BYTES / 4 / UNIT / Math.max(1, rows)));
  return Array.from({ length: Math.ceil(vocabulary / most) }, (_, index) => {
    const first = index * most;
    const cols = Math.min(most, vocabulary - first);
    return { first, cols, weight: sliceRows(weight, first, cols), bias: bias && sliceCols(bias, first, cols) };
  });
}

/** The same bits in the forward and in the backward pass. */
function logitsOf(on: Dispatcher, x: Tensor, { weight, bias }: Block): Tensor {
  const y = takeScratch(on, "nll.logits", [x.shape[0], weight.shape[0]]);
  gemm(on, { order: "NT", a: x, b: weight, bias, y });
  return y;
}
