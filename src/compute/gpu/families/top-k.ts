import { MOST_TOP_K, type TopK } from "../../device/families/tokens.ts";
import type { Tensor } from "../../device/tensor.ts";
import { TOP_K_KERNEL, topKParameters } from "../kernels/top-k.ts";
import { whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

/** Candidates that one workgroup of the first pass looks at. */
const CHUNK = MOST_TOP_K;

export function topK(on: Dispatcher, { k, x, values, ids }: TopK): void {
  const [rows, count] = x.shape;
  const chunks = Math.ceil(count / CHUNK);
  if (chunks === 1) {
    record(on, k, x, undefined, CHUNK, values, ids);
    return;
  }
  const some = takeScratch(on, "top-k.values", [rows, chunks * k]);
  const someIds = takeScratch(on, "top-k.ids", [rows, chunks * k], "U32");
  record(on, k, x, undefined, CHUNK, some, someIds);
  record(on, k, some, someIds, chunks * k, values, ids);
  giveScratch(on, some, someIds);
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
    topKParameters({
      k,
      count,
      chunk,
      fromIds: xIds !== undefined,
      values: [x.offset, x.pitch],
      ids: [xIds?.offset ?? 0, xIds?.pitch ?? 0],
      outValues: [values.offset, values.pitch],
      outIds: [ids.offset, ids.pitch],
    }),
    [whole(on, x), xIds === undefined ? on.nothing : whole(on, xIds), whole(on, values), whole(on, ids)],
    [Math.ceil(count / chunk), rows],
  );
}
