import { recordAdded } from "./elementwise.ts";
import type { Recorder } from "./recorder.ts";
import type { Tensor } from "./tensor.ts";

/** The operands of {@link addGroupedLinear}; see OPS.groupedLinear. */
export interface AddedGroupedLinear {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly begins: Tensor;
  readonly rowsAtMost?: number | undefined;
}

/** Records y[r] += W_g x[r], where y (rows, out) F32 has just been filled: what `addLinear` says of y holds. */
export function addGroupedLinear(recorder: Recorder, operands: AddedGroupedLinear, y: Tensor): void {
  const { x, weight, begins, rowsAtMost } = operands;
  const { run } = recorder;
  const product = run.allocate("added product", y.shape);
  run.compute("groupedGemm", { order: "NT", a: x, b: weight, begins, rowsAtMost, y: product });
  recordAdded(run, product, y);
  run.release(product);
  recorder.record({
    name: "added grouped linear",
    inputs: [x, weight],
    adds: [false, true],
    outputs: [y],
    saves: ([wantsX, wantsWeight]) => [
      begins,
      ...(wantsX === true ? [weight] : []),
      ...(wantsWeight === true ? [x] : []),
    ],
    backward: (to, [dy], [dx, dWeight]) => {
      if (dy === undefined) return;
      if (dx !== undefined) to.compute("groupedGemm", { order: "NN", a: dy, b: weight, begins, y: dx });
      if (dWeight !== undefined) to.compute("groupedGemm", { order: "TN", a: dy, b: x, begins, y: dWeight });
    },
  });
}
