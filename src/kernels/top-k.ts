import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import type { Staging } from "./staging.ts";
import topKText from "./top-k.wgsl" with { type: "text" };

const family = kernelFamily("top-k", topKText);

/** Candidates that one workgroup of the first pass looks at. */
export const TOP_K_CHUNK = 1024;

/** The k largest of chunks of a row. Parameters: see top-k.wgsl. */
export function topKKernel(staging: Staging): KernelSource {
  return family(reduction(staging, 128));
}
