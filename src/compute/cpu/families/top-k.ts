import type { TopK } from "../../device/families/tokens.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

/** The k largest of each chunk of a row, k after k; the candidates' ids are those given, or their numbers. */
export const TOP_K = cpuKernel("topK", {
  k: "u32",
  count: "u32",
  chunk: "u32",
  /** Chunks of a row. */
  chunks: "u32",
  x: "matrix",
  ids: "matrix",
  toValues: "target",
  toIds: "target",
});

/** Candidates of a piece of a long row. */
const CHUNK = 16_384;

/** Long rows are searched in chunks, then what those give: nothing is rounded. */
export function topK(on: Dispatcher, { k, x, values, ids }: TopK): void {
  const [rows, count] = x.shape;
  const chunks = Math.ceil(count / CHUNK);
  if (chunks === 1) {
    search(on, k, x, undefined, count, values, ids);
    return;
  }
  const some = takeScratch(on, "top-k.values", [rows, chunks * k]);
  const someIds = takeScratch(on, "top-k.ids", [rows, chunks * k], "U32");
  search(on, k, x, undefined, CHUNK, some, someIds);
  search(on, k, some, someIds, chunks * k, values, ids);
  giveScratch(on, some, someIds);
}

/** The k largest of each chunk of `x`, whose columns' ids are `xIds`, or their numbers. */
function search(
  on: Dispatcher,
  k: number,
  x: Tensor,
  xIds: Tensor | undefined,
  chunk: number,
  values: Tensor,
  ids: Tensor,
): void {
  const [rows, count] = x.shape;
  const chunks = Math.ceil(count / chunk);
  on.dispatch(TOP_K, { k, count, chunk, chunks, x, ids: xIds, toValues: values, toIds: ids }, rows * chunks);
}
