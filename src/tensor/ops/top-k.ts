import { TOP_K_CHUNK, topKKernel, topKParameters } from "../../kernels/top-k.ts";
import { at, defineOp, requireShapes, zeros } from "../op.ts";
import { type Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { whole } from "../row-blocks.ts";

const LARGEST_F32 = Math.fround(3.4028234663852886e38);

/**
 * The k largest elements of each row and their columns, largest first; of equal elements the lower column first, as
 * torch.argmax has it. k = 1 is the argmax. What is no number, or +Infinity, counts and is given as the largest f32: one
 * such element is seen by whoever looks at the first value.
 */
export const topK = defineOp({ inputs: { x: "needed" }, outputs: { values: "needed", ids: "needed" } })<{
  readonly k: number;
}>({
  name: "top-k",
  shape({ x }, { k }) {
    requireShapes(
      "top-k",
      { x },
      k >= 1 && k <= x[1] && k <= TOP_K_CHUNK,
      `k = ${k} must be 1 to ${TOP_K_CHUNK}, and at most a row`,
    );
    return { values: { shape: [x[0], k] }, ids: { shape: [x[0], k], dtype: "U32" } };
  },
  forward(run, { x }, { k }, { values, ids }) {
    const [rows, count] = x.shape;
    const chunks = Math.ceil(count / TOP_K_CHUNK);
    if (chunks === 1) {
      record(run, k, x, undefined, TOP_K_CHUNK, values, ids);
      return;
    }
    const some = run.allocate("top-k.values", [rows, chunks * k]);
    const someIds = run.allocate("top-k.ids", [rows, chunks * k], "U32");
    record(run, k, x, undefined, TOP_K_CHUNK, some, someIds);
    record(run, k, some, someIds, chunks * k, values, ids);
    run.release(some, someIds);
  },
  reference({ x: given }, { k }) {
    const x = { shape: given.shape, data: given.data.map(clamped) };
    const [rows, cols] = x.shape;
    const values = zeros(rows, k);
    const ids = zeros(rows, k);
    for (let row = 0; row < rows; row++) {
      const order = Array.from({ length: cols }, (_, col) => col).toSorted(
        (left, right) => at(x, row, right) - at(x, row, left) || left - right,
      );
      order.slice(0, k).forEach((col, rank) => {
        values.data[row * k + rank] = at(x, row, col);
        ids.data[row * k + rank] = col;
      });
    }
    return { values, ids };
  },
  derivative: "constant",
});

/** What the kernel takes a value for. */
function clamped(value: number): number {
  return Number.isNaN(value) ? LARGEST_F32 : Math.max(-LARGEST_F32, Math.min(LARGEST_F32, value));
}

/** One pass: the k largest of each chunk of `x`, whose columns' ids are `xIds`, or their numbers. */
function record(
  run: Run,
  k: number,
  x: Tensor,
  xIds: Tensor | undefined,
  chunk: number,
  values: Tensor,
  ids: Tensor,
): void {
  const [rows, count] = x.shape;
  run.dispatch(
    topKKernel(run.staging),
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
    [whole(run, x), xIds === undefined ? run.nothing : whole(run, xIds), whole(run, values), whole(run, ids)],
    [Math.ceil(count / chunk), rows],
  );
}
