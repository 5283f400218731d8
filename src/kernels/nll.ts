import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import nllText from "./nll.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

const family = kernelFamily("nll", nllText);

/** Columns of logits that enter a row's state at once: 4 sums of at most 256 terms for each of 8 threads. */
export const NLL_BLOCK = 8192;

/** Negative log-likelihood of a target a row, block by block; one workgroup a row. Parameters: see nll.wgsl. */
export function nllKernel(staging: Staging): KernelSource {
  return family(reduction(staging, 128));
}
