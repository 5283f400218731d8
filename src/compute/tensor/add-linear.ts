import { recordGemm } from "./gemm.ts";
import type { Recorder } from "./recorder.ts";
import type { Tensor } from "./tensor.ts";

/** The operands of {@link addLinear}. */
export interface AddedLinear {
  /** (rows, in) F32. */
  readonly x: Tensor;
  /** (out, in). */
  readonly weight: Tensor;
  /** Of the product. */
  readonly scale: number;
}

/**
 * Records y += scale · x Wᵀ, where y (rows, out) F32 has just been filled: a tape then has several nodes that fill it, and
 * each of them is differentiated with the same ∂loss/∂y. None may read y itself in its backward pass.
 * @throws RandloraError `model` when the shapes do not fit
 */
export function addLinear(recorder: Recorder, { x, weight, scale }: AddedLinear, y: Tensor): void {
  recordGemm(recorder.run, { order: "NT", a: x, b: weight, y, scale, accumulate: true });
  recorder.record({
    name: "added linear",
    inputs: [x, weight],
    adds: [false, true],
    outputs: [y],
    saves: ([wantsX, wantsWeight]) => [...(wantsX === true ? [weight] : []), ...(wantsWeight === true ? [x] : [])],
    backward: (run, [dy], [dx, dWeight]) => {
      if (dy === undefined) return;
      if (dx !== undefined) recordGemm(run, { order: "NN", a: dy, b: weight, y: dx, scale });
      if (dWeight !== undefined) recordGemm(run, { order: "TN", a: dy, b: x, y: dWeight, scale, accumulate: true });
    },
  });
}
