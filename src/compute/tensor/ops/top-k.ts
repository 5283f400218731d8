import { MOST_TOP_K } from "../../device/families/tokens.ts";
import { at, defineOp, requireShapes, zeros } from "../op.ts";

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
      k >= 1 && k <= x[1] && k <= MOST_TOP_K,
      `k = ${k} must be 1 to ${MOST_TOP_K}, and at most a row`,
    );
    return { values: { shape: [x[0], k] }, ids: { shape: [x[0], k], dtype: "U32" } };
  },
  forward(run, { x }, { k }, { values, ids }) {
    run.compute("topK", { k, x, values, ids });
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
