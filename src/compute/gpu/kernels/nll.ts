import type { KernelSource } from "../pipelines.ts";
import { constants, kernelFamily } from "./family.ts";
import nllText from "./nll.wgsl" with { type: "text" };
import backwardText from "./nll-backward.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("nll", nllText);

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
export const NLL_KERNEL: KernelSource = family({ THREADS });

/** Which gradients the backward kernel reads. */
export const NLL_FLAGS = { hasDy: 1, hasDlse: 2 } as const;
/** Vectors of 4 columns that one workgroup of the backward kernel handles. */
export const NLL_BACKWARD_WIDTH = 64;
/** Turns a block of logits into their gradient. */
export const NLL_BACKWARD_KERNEL = kernelFamily("nll-backward", backwardText, { constants: constants(NLL_FLAGS) })({});

/** Parameters: see nll-backward.wgsl. */
export const nllBackwardParameters = uniformStruct({
  cols: "u32",
  first: "u32",
  logits: "place",
  targetsAt: "u32",
  lse: "place",
  dy: "place",
  dlse: "place",
  flags: "u32",
  cap: "f32",
});

/** Parameters: see nll.wgsl. */
export const nllParameters = uniformStruct({
  cols: "u32",
  first: "u32",
  logits: "place",
  targetsAt: "u32",
  isFirst: "flag",
  isLast: "flag",
  nll: "place",
  lse: "place",
  cap: "f32",
});
