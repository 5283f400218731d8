import {
  type Embedding,
  type EmbeddingGradient,
  MOST_TOP_K,
  type Rows,
  type TopK,
} from "../../device/families/tokens.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { boundScales, rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import backwardText from "../kernels/embedding-backward.wgsl" with { type: "text" };
import embeddingText from "../kernels/embedding.wgsl" with { type: "text" };
import { gpuKernels } from "../kernels/family.ts";
import rowsText from "../kernels/rows.wgsl" with { type: "text" };
import topKText from "../kernels/top-k.wgsl" with { type: "text" };

/** Gathers or scatters rows by index. */
const ROWS = gpuKernels("rows", rowsText, {
  parameters: {
    width: "u32", // vectors of 4 in a row
    scatter: "flag", // else gather
    indexAt: "u32",
    x: "vectors",
    y: "vectors",
  },
  bindings: ["x", "indices", "y"],
})();

export function rows(on: Dispatcher, { scatter, x, indices, y }: Rows): void {
  const width = Math.ceil(x.shape[1] / 4);
  const values = { width, scatter, indexAt: indices.offset, x, indices, y };
  on.run(ROWS, values, [Math.ceil(width / 64), indices.shape[1]]);
}

/** Gathers rows of a table by token id. */
const EMBEDDING = gpuKernels("embedding", embeddingText, {
  parameters: {
    rows: "u32",
    width: "u32", // vectors of 4 in a row
    first: "u32", // id of the first bound row, and the number of bound rows
    count: "u32",
    table: "vectors", // from the first bound row
    ids: "elementsAt",
    y: "vectors",
    scale: "f32",
    scalesAt: "u32", // of the first bound block, in blocks
  },
  bindings: ["table", "ids", "y", "scales?"],
});

/** Links the positions of each id, and sums gradients along the links. */
const BACKWARD = gpuKernels("embedding-backward", backwardText, {
  parameters: {
    tokens: "u32",
    width: "u32", // vectors of 4 in a row
    first: "u32", // id of the first bound row, and the number of bound rows
    count: "u32",
    table: "vectors", // from the first bound row
    ids: "elementsAt", // a multiple of 4
    dy: "vectors",
    scale: "f32",
  },
  bindings: ["ids", "links", "dy", "dtable"],
});

export function embedding(on: Dispatcher, { ids, table, scale, y }: Embedding): void {
  const [rows, cols] = y.shape;
  const width = Math.ceil(cols / 4);
  const kernel = EMBEDDING({ DTYPE: storedDtype("embedding", table) });
  for (const block of rowBlocks(on, table)) {
    const { first, rows: count } = block;
    const values = { rows, width, first, count, table: block, ids, y, scale, ...boundScales(on, table, block) };
    on.run(kernel, values, [Math.ceil(width / 64), rows]);
  }
}

export function embeddingGradient(on: Dispatcher, { ids, dy, scale, dtable }: EmbeddingGradient): void {
  const [tokens, cols] = dy.shape;
  const width = Math.ceil(cols / 4);
  const links = takeScratch(on, "embedding.links", [1, 2 * tokens], "U32");
  for (const block of rowBlocks(on, dtable)) {
    const { first, rows: count } = block;
    const values = { tokens, width, first, count, table: block, ids, links, dy, dtable: block, scale };
    if (first === 0) on.run(BACKWARD({ PASS: "link" }), values, [Math.ceil(tokens / 64)]);
    on.run(BACKWARD({ PASS: "sum" }), values, [Math.ceil(width / 64), tokens]);
  }
  giveScratch(on, links);
}

/** Candidates that a workgroup looks at: at least so many, and so many times those that it finds. */
const CHUNK = MOST_TOP_K;
const TIMES = 8;

/** The k largest of chunks of a row. */
const TOP_K = gpuKernels("top-k", topKText, {
  parameters: {
    k: "u32",
    count: "u32", // candidates in a row
    chunk: "u32", // candidates that one workgroup looks at
    fromIds: "flag", // the candidates' ids are in `ids`; else they are 0, 1, 2, …
    values: "elements",
    ids: "elements",
    outValues: "elements",
    outIds: "elements",
  },
  bindings: ["values", "ids?", "outValues", "outIds"],
})({ THREADS: 128 });

/** The best of chunks, of chunks of those, and so on until one workgroup looks at all that are left. */
export function topK(on: Dispatcher, { k, x, values: lastValues, ids: lastIds }: TopK): void {
  const [rows] = x.shape;
  const chunk = Math.max(CHUNK, TIMES * k);
  let [values, ids]: readonly [Tensor, Tensor?] = [x];
  for (;;) {
    const [, count] = values.shape;
    const chunks = Math.ceil(count / chunk);
    const isLast = chunks === 1;
    const outValues = isLast ? lastValues : takeScratch(on, "top-k.values", [rows, chunks * k]);
    const outIds = isLast ? lastIds : takeScratch(on, "top-k.ids", [rows, chunks * k], "U32");
    on.run(TOP_K, { k, count, chunk, fromIds: ids !== undefined, values, ids, outValues, outIds }, [chunks, rows]);
    if (ids !== undefined) giveScratch(on, values, ids);
    if (isLast) return;
    [values, ids] = [outValues, outIds];
  }
}
