import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, type Tensor } from "../../compute/tensor/tensor.ts";

/** Elements that a head takes where kernels read it: whole vectors of 4. */
export function paddedHead(headSize: number): number {
  return Math.ceil(headSize / 4) * 4;
}

/**
 * The two halves of x, and what they are views of: of a copy with zeros behind each where a half is no whole vectors. x is then
 * released.
 */
export function recordHalves(recorder: Recorder, x: Tensor): { halves: readonly [Tensor, Tensor]; held: Tensor } {
  const size = x.shape[1] / 2;
  if (size % 4 === 0) return { halves: [sliceCols(x, 0, size), sliceCols(x, size, size)], held: x };
  const { y } = recorder.apply(OPS.regroup, { x }, { groups: 1, sizes: [size, size], padding: "added" });
  recorder.release(x);
  const half = (first: number) => ({ ...sliceCols(y, first, y.shape[1] / 2), shape: [y.shape[0], size] as const });
  return { halves: [half(0), half(y.shape[1] / 2)], held: y };
}

/** Records heads with zeros behind each up to whole vectors, or without these; x is released where it has other columns then. */
export function recordHeads(recorder: Recorder, x: Tensor, headSize: number, padding: "added" | "removed"): Tensor {
  const padded = paddedHead(headSize);
  if (padded === headSize) return x;
  const groups = x.shape[1] / (padding === "added" ? headSize : padded);
  const { y } = recorder.apply(OPS.regroup, { x }, { groups, sizes: [headSize], padding });
  recorder.release(x);
  return y;
}
