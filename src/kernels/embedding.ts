import type { KernelSource } from "../gpu/pipelines.ts";
import type { KernelDtype } from "./dtype.ts";
import embeddingText from "./embedding.wgsl" with { type: "text" };
import backwardText from "./embedding-backward.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";

const family = kernelFamily("embedding", embeddingText);
const backward = kernelFamily("embedding-backward", backwardText);

/** Gathers rows of a table by token id. Parameters: see embedding.wgsl. */
export function embeddingKernel(dtype: KernelDtype): KernelSource {
  return family({ DTYPE: dtype });
}

/** Links the positions of each id, and sums gradients along the links. Parameters of both: see embedding-backward.wgsl. */
export const EMBEDDING_BACKWARD_KERNELS = { link: backward({ PASS: "link" }), sum: backward({ PASS: "sum" }) } as const;
