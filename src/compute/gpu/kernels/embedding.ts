import type { StoredDtype } from "../../device/dtype.ts";
import embeddingText from "./embedding.wgsl" with { type: "text" };
import backwardText from "./embedding-backward.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of embedding-backward.wgsl. */
const embeddingBackwardParameters = uniformStruct({
  tokens: "u32",
  width: "u32", // vectors of 4 in a row
  first: "u32", // id of the first bound row, and the number of bound rows
  count: "u32",
  table: "vectors", // from the first bound row
  idsAt: "u32", // elements; a multiple of 4
  dy: "vectors",
  scale: "f32",
});

/** Parameters of embedding.wgsl. */
const embeddingParameters = uniformStruct({
  rows: "u32",
  width: "u32", // vectors of 4 in a row
  first: "u32", // id of the first bound row, and the number of bound rows
  count: "u32",
  table: "vectors", // from the first bound row
  idsAt: "u32",
  y: "vectors",
  scale: "f32",
  scalesAt: "u32", // of the first bound block, in blocks
});

const family = kernelFamily("embedding", embeddingText, embeddingParameters);
const backward = kernelFamily("embedding-backward", backwardText, embeddingBackwardParameters);

/** Gathers rows of a table by token id. */
export function embeddingKernel(dtype: StoredDtype) {
  return family({ DTYPE: dtype });
}

/** Links the positions of each id, and sums gradients along the links. */
export const EMBEDDING_BACKWARD_KERNELS = { link: backward({ PASS: "link" }), sum: backward({ PASS: "sum" }) } as const;
