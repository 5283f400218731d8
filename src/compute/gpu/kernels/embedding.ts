import type { KernelSource } from "../pipelines.ts";
import type { KernelDtype } from "../../device/dtype.ts";
import embeddingText from "./embedding.wgsl" with { type: "text" };
import backwardText from "./embedding-backward.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("embedding", embeddingText);
const backward = kernelFamily("embedding-backward", backwardText);

/** Gathers rows of a table by token id. */
export function embeddingKernel(dtype: KernelDtype): KernelSource {
  return family({ DTYPE: dtype });
}

/** Links the positions of each id, and sums gradients along the links. */
export const EMBEDDING_BACKWARD_KERNELS = { link: backward({ PASS: "link" }), sum: backward({ PASS: "sum" }) } as const;

/** Parameters: see embedding-backward.wgsl. */
export const embeddingBackwardParameters = uniformStruct({
  tokens: "u32",
  width: "u32",
  first: "u32",
  count: "u32",
  table: "place",
  idsAt: "u32",
  dy: "place",
  scale: "f32",
});

/** Parameters: see embedding.wgsl. */
export const embeddingParameters = uniformStruct({
  rows: "u32",
  width: "u32",
  first: "u32",
  count: "u32",
  table: "place",
  idsAt: "u32",
  y: "place",
  scale: "f32",
});
