import type { Elementwise, ElementwiseGradient } from "../../device/families/elementwise.ts";
import type { Tensor } from "../../device/tensor.ts";
import { ELEMENTWISE_BACKWARD_KERNEL, ELEMENTWISE_KERNEL, ELEMENTWISE_WIDTH } from "../kernels/elementwise.ts";
import { rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

/** Rows of one dispatch at most; a multiple of 32, as `rowBlocks` cuts. */
const MOST_ROWS = 65_504;

/** Matrices above the binding limit take several dispatches. */
export function elementwise(on: Dispatcher, { kind, a, b, y, cap }: Elementwise): void {
  const width = Math.ceil(y.shape[1] / 4);
  for (const { rows, bound } of sameRows(on, [a, b, y])) {
    const [ofA, ofB, ofY] = bound;
    on.dispatch(ELEMENTWISE_KERNEL, { kind, rows, width, a: ofA, b: ofB, y: ofY, cap }, bound, [
      Math.ceil(width / ELEMENTWISE_WIDTH),
      rows,
    ]);
  }
}

/** Two results take one dispatch where they are views of one buffer. */
export function elementwiseGradient(on: Dispatcher, pass: ElementwiseGradient): void {
  const { kind, a, b, gradient, da, db, cap } = pass;
  if (da !== undefined && db !== undefined && (da.buffer !== db.buffer || tooLarge(on, da))) {
    elementwiseGradient(on, { ...pass, db: undefined });
    elementwiseGradient(on, { ...pass, da: undefined });
    return;
  }
  const outputs = (da === undefined ? 0 : 1) | (db === undefined ? 0 : 2);
  const result = da ?? db;
  if (result === undefined) return;
  const width = Math.ceil(result.shape[1] / 4);
  for (const { rows, bound } of sameRows(on, [a, b, gradient, da, db])) {
    const [ofA, ofB, ofGradient, ofDa, ofDb] = bound;
    on.dispatch(
      ELEMENTWISE_BACKWARD_KERNEL,
      { kind, outputs, width, cap, a: ofA, b: ofB, g: ofGradient, da: ofDa, db: ofDb },
      [ofA, ofB, ofGradient, ofDa ?? ofDb],
      [Math.ceil(width / ELEMENTWISE_WIDTH), rows],
    );
  }
}

/** Splits operands of equally many rows alike, so that each part can be bound and dispatched. */
export function sameRows(on: Dispatcher, tensors: readonly (Tensor | undefined)[]) {
  const whole = tensors.map((tensor) => (tensor === undefined ? [] : rowBlocks(on, tensor, MOST_ROWS)));
  // The first block of a tensor is its largest; the last one is what was left.
  const most = Math.min(...whole.map(([first]) => first?.rows ?? MOST_ROWS));
  const all = tensors.map((tensor) => (tensor === undefined ? [] : rowBlocks(on, tensor, most)));
  const [longest = []] = all.toSorted((left, right) => right.length - left.length);
  return longest.map(({ rows }, index) => ({ rows, bound: all.map((blocks) => blocks[index]) }));
}

function tooLarge(on: Dispatcher, { buffer }: Tensor): boolean {
  return buffer.size > on.gpu.limits.maxStorageBufferBindingSize;
}
