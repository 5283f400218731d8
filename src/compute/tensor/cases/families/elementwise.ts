// What row kernels are recorded as, where that is no op.
import { sliceCols } from "../../../device/tensor.ts";
import { evaluate } from "../../../rows/f64.ts";
import { ACTIVATIONS, clampedGate, gatedActivation } from "../../../rows/gates.ts";
import { recordAdded } from "../../elementwise.ts";
import { recordZero } from "../../fill.ts";
import { matrixOf } from "../../op.ts";
import { type FamilyCase, placed, target } from "./case.ts";

export const ELEMENTWISE_CASES: readonly FamilyCase[] = [
  {
    family: "elementwise",
    format: "F32",
    name: "accumulate",
    record(run) {
      const [x, y] = [placed(run, 3, 41), placed(run, 3, 41)];
      recordAdded(run, x, y);
      const added = y.matrix.data.map((value, index) => value + (x.matrix.data[index] ?? NaN));
      return [{ of: "y", tensor: y, wanted: { ...y.matrix, data: added } }];
    },
  },
  {
    family: "elementwise",
    format: "F32",
    name: "zero",
    record(run) {
      const y = target(run, 5, 40);
      recordZero(run, y);
      return [{ of: "y", tensor: y, wanted: matrixOf(5, 40, () => 0) }];
    },
  },
  ...gradientsInOne(),
];

/** Of gates whose operands are the halves of one product: its gradient is one buffer. */
function gradientsInOne(): FamilyCase[] {
  const kinds = ACTIVATIONS.map((kind) => gatedActivation.kernel(kind, ["gate", "up"]));
  return [...kinds, clampedGate.kernel(undefined, ["gate", "up"])].map((kernel): FamilyCase => {
    return {
      family: "elementwise",
      format: "F32",
      name: `${kernel.name}, in one buffer`,
      record(run) {
        const [gate, up, dy] = [placed(run, 3, 40), placed(run, 3, 40), placed(run, 3, 40)];
        const both = target(run, 3, 80);
        const into = { dgate: sliceCols(both, 0, 40), dup: sliceCols(both, 40, 40) };
        run.compute("elementwise", { kernel, tensors: { gate, up, dy, ...into }, numbers: { limit: 0.5 } });
        const given = { gate: gate.matrix.data, up: up.matrix.data, dy: dy.matrix.data };
        const [left, right] = ["dgate", "dup"].map((of) => evaluate(kernel.targets[of], 120, given, { limit: 0.5 }));
        const wanted = matrixOf(3, 80, (row, col) => (col < 40 ? left : right)?.[row * 40 + (col % 40)] ?? NaN);
        return [{ of: "gradients", tensor: both, wanted }];
      },
    };
  });
}
