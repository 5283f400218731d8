import type { KernelSource } from "../pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import nllText from "./nll.wgsl" with { type: "text" };
import backwardText from "./nll-backward.wgsl" with { type: "text" };
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("nll", nllText);

/** Columns of logits that enter a row's state at once, at most … */
const MOST_COLS = 8192;
/** … and those of one thread: 4 sums of at most 256 terms. */
const MOST_COLS_PER_THREAD = 1024;
/** Threads that share a row where they are not a subgroup. */
const THREADS = 128;
/** What a block of logits may take, unless a few columns take more. */
const BLOCK_BYTES = 32 * 2 ** 20;
const LEAST_COLS = 256;

/** Columns of a block of logits for so many tokens; the logits of one block are all that exists at a time. */
export function nllBlock(staging: GpuStaging, tokens: number): number {
  const most = Math.min(MOST_COLS, MOST_COLS_PER_THREAD * reduction(staging, THREADS).THREADS);
  const fitting = Math.floor(BLOCK_BYTES / 4 / tokens / LEAST_COLS) * LEAST_COLS;
  return Math.min(most, Math.max(LEAST_COLS, fitting));
}

/** Negative log-likelihood of a target a row, block by block; one workgroup a row. */
export function nllKernel(staging: GpuStaging): KernelSource {
  return family(reduction(staging, THREADS));
}

/** Which gradients the backward kernel reads; the constants of the same names in nll-backward.wgsl. */
export const NLL_FLAGS = { hasDy: 1, hasDlse: 2 } as const;
/** Vectors of 4 columns that one workgroup of the backward kernel handles. */
export const NLL_BACKWARD_WIDTH = 64;
/** Turns a block of logits into their gradient. */
export const NLL_BACKWARD_KERNEL = kernelFamily("nll-backward", backwardText)({});

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
