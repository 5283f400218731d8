import { MOST_TOP_K, type TopK } from "../../device/families/tokens.ts";
import type { Tensor } from "../../device/tensor.ts";
import { TOP_K_KERNEL } from "../kernels/top-k.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

/** Candidates that a workgroup looks at: at least so many, and so many times those that it finds. */
const CHUNK = MOST_TOP_K;
const TIMES = 8;

/** The best of chunks, of chunks of those, and so on until one workgroup looks at all that are left. */
export function topK(on: Dispatcher, { k, x, values, ids }: TopK): void {
  const [rows] = x.shape;
  const chunk = Math.max(CHUNK, TIMES * k);
  let [from, fromIds]: readonly [Tensor, Tensor?] = [x];
  for (;;) {
    const chunks = Math.ceil(from.shape[1] / chunk);
    const isLast = chunks === 1;
    const to = isLast ? values : takeScratch(on, "top-k.values", [rows, chunks * k]);
    const toIds = isLast ? ids : takeScratch(on, "top-k.ids", [rows, chunks * k], "U32");
    record(on, k, from, fromIds, chunk, to, toIds);
    if (fromIds !== undefined) giveScratch(on, from, fromIds);
    if (isLast) return;
    [from, fromIds] = [to, toIds];
  }
}

/** One pass: the k largest of each chunk of `x`, whose columns' ids are `xIds`, or their numbers. */
function record(
  on: Dispatcher,
  k: number,
  x: Tensor,
  xIds: Tensor | undefined,
  chunk: number,
  values: Tensor,
  ids: Tensor,
): void {
  const [rows, count] = x.shape;
  on.dispatch(
    TOP_K_KERNEL,
    { k, count, chunk, fromIds: xIds !== undefined, values: x, ids: xIds, outValues: values, outIds: ids },
    [x, xIds, values, ids],
    [Math.ceil(count / chunk), rows],
  );
}
