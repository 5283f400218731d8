import type { Nll, NllGradient } from "../../device/families/tokens.ts";
import { sliceCols, sliceRows, type Tensor } from "../../device/tensor.ts";
import { NLL_BACKWARD_KERNEL, NLL_BACKWARD_WIDTH, NLL_FLAGS, NLL_KERNEL, nllBlock } from "../kernels/nll.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import { columnSums } from "./column-sums.ts";
import { gemm } from "./gemm.ts";
import { linear } from "./linear.ts";

/** Operations, roughly. */
const PER_LOGIT = 16;

export function nll(on: Dispatcher, { x, weight, bias, targets, softcap, rowsAtMost, y, lse }: Nll): void {
  const [tokens] = x.shape;
  const [vocabulary] = weight.shape;
  const state = takeScratch(on, "nll.state", [tokens, 4]);
  for (const block of blocks(rowsAtMost ?? tokens, weight, bias)) {
    const logits = recordLogits(on, x, block, rowsAtMost);
    on.dispatch(
      NLL_KERNEL,
      {
        cols: block.cols,
        first: block.first,
        logits,
        targetsAt: targets.offset,
        isFirst: block.first === 0,
        isLast: block.first + block.cols === vocabulary,
        nll: y,
        lse,
        cap: softcap ?? 0,
      },
      [logits, targets, state, y, lse],
      [tokens],
      PER_LOGIT * tokens * block.cols,
    );
    giveScratch(on, logits);
  }
  giveScratch(on, state);
}

export function nllGradient(on: Dispatcher, operands: NllGradient): void {
  const { x, weight, bias, dx, dweight, dbias, rowsAtMost = x.shape[0] } = operands;
  for (const block of blocks(rowsAtMost, weight, bias)) {
    const logits = recordLogits(on, x, block, operands.rowsAtMost);
    recordGradient(on, logits, block.first, operands);
    if (dx !== undefined) {
      gemm(on, { order: "NN", a: logits, b: block.weight, y: dx, accumulate: block.first > 0 });
    }
    if (dweight !== undefined) {
      const y = sliceRows(dweight, block.first, block.cols);
      gemm(on, { order: "TN", a: logits, b: x, y, accumulate: true });
    }
    if (dbias !== undefined) columnSums(on, { a: logits, y: sliceCols(dbias, block.first, block.cols) });
    giveScratch(on, logits);
  }
}

interface Block {
  readonly first: number;
  readonly cols: number;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** The output matrix in blocks of rows: as many columns of logits as may exist at a time. */
function blocks(tokens: number, weight: Tensor, bias: Tensor | undefined): Block[] {
  const [vocabulary] = weight.shape;
  const most = nllBlock(tokens);
  return Array.from({ length: Math.ceil(vocabulary / most) }, (_, index) => {
    const first = index * most;
    const cols = Math.min(most, vocabulary - first);
    return { first, cols, weight: sliceRows(weight, first, cols), bias: bias && sliceCols(bias, first, cols) };
  });
}

/** The same bits in the forward and in the backward pass. */
function recordLogits(on: Dispatcher, x: Tensor, { weight, bias }: Block, rowsAtMost: number | undefined): Tensor {
  const y = takeScratch(on, "linear.y", [x.shape[0], weight.shape[0]]);
  linear(on, { x, weight, bias, residual: undefined, scale: 1, rowsAtMost, y });
  return y;
}

/** Records that logits of the tokens `first` … of the vocabulary become their gradient. */
function recordGradient(on: Dispatcher, logits: Tensor, first: number, parts: NllGradient): void {
  const { targets, lse, dy, dlse, softcap } = parts;
  const [tokens, cols] = logits.shape;
  on.dispatch(
    NLL_BACKWARD_KERNEL,
    {
      cols,
      first,
      logits,
      targetsAt: targets.offset,
      lse,
      dy,
      dlse,
      flags: (dy === undefined ? 0 : NLL_FLAGS.hasDy) | (dlse === undefined ? 0 : NLL_FLAGS.hasDlse),
      cap: softcap ?? 0,
    },
    [logits, targets, lse, dy, dlse],
    [Math.ceil(cols / 4 / NLL_BACKWARD_WIDTH), tokens],
    PER_LOGIT * tokens * cols,
  );
}
