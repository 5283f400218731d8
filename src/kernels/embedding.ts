import type { KernelSource } from "../gpu/pipelines.ts";
import type { KernelDtype } from "./dtype.ts";
import embeddingText from "./embedding.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";

const family = kernelFamily("embedding", embeddingText);

/** Gathers rows of a table by token id. Parameters: see embedding.wgsl. */
export function embeddingKernel(dtype: KernelDtype): KernelSource {
  return family({ DTYPE: dtype });
}
