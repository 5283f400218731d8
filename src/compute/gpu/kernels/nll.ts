import { constants, kernelFamily } from "./family.ts";
import nllText from "./nll.wgsl" with { type: "text" };
import backwardText from "./nll-backward.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of nll-backward.wgsl. */
const nllBackwardParameters = uniformStruct({
  cols: "u32", // of this block
  first: "u32", // token id of its first column
  logits: "vectors",
  targetsAt: "u32",
  lse: "vectors", // as all that follow; each row holds one number and padding
  dy: "vectors",
  dlse: "vectors",
  flags: "u32",
  cap: "f32", // logits become cap · tanh(logit / cap); 0: they do not
});

/** Parameters of nll.wgsl. */
const nllParameters = uniformStruct({
  cols: "u32", // of this block
  first: "u32", // token id of its first column
  logits: "vectors",
  targetsAt: "u32",
  isFirst: "flag",
  isLast: "flag",
  nll: "vectors",
  lse: "vectors",
  cap: "f32", // logits become cap · tanh(logit / cap); 0: they do not
});

const family = kernelFamily("nll", nllText, nllParameters);

/** Threads that share a row. */
const THREADS = 128;
/** Columns of logits that enter a row's state at once, at most: far below the 1024 a thread of four sums of 256 terms. */
const MOST_COLS = 8192;
/** What a block of logits may take, unless a few columns take more. */
const BLOCK_BYTES = 32 * 2 ** 20;
const LEAST_COLS = 256;

/** Columns of a block of logits for so many tokens; the logits of one block are all that exists at a time. */
export function nllBlock(tokens: number): number {
  const fitting = Math.floor(BLOCK_BYTES / 4 / tokens / LEAST_COLS) * LEAST_COLS;
  return Math.min(MOST_COLS, Math.max(LEAST_COLS, fitting));
}

/** Negative log-likelihood of a target a row, block by block; one workgroup a row. */
export const NLL_KERNEL = family({ THREADS });

/** Which gradients the backward kernel reads. */
export const NLL_FLAGS = { hasDy: 1, hasDlse: 2 } as const;
/** Vectors of 4 columns that one workgroup of the backward kernel handles. */
export const NLL_BACKWARD_WIDTH = 64;
/** Turns a block of logits into their gradient. */
export const NLL_BACKWARD_KERNEL = kernelFamily("nll-backward", backwardText, nllBackwardParameters, {
  constants: constants(NLL_FLAGS),
})({});
