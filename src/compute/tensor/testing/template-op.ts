// A template for an op: copy it to `src/compute/tensor/ops/OP.ts`, change what it says, and list it in `index.ts` there.
import { add } from "../../rows/arithmetic.ts";
import { defineOp } from "../op.ts";
import { type CasesOf, random } from "../cases/case.ts";

/** y = 2x. */
export const doubled = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<object>({
  name: "doubled",
  shape: ({ x }) => ({ y: { shape: x } }),
  forward(run, { x }, _, { y }) {
    run.compute("elementwise", { kernel: add.kernel(), tensors: { a: x, b: x, y: y } });
  },
  reference: ({ x }) => ({ y: { shape: x.shape, data: x.data.map((value) => 2 * value) } }),
  derivative: {
    // Which operands the backward pass reads: none.
    saves: () => [],
    backward(run, { gradients: { y: gradient }, into: { x: target } }) {
      if (gradient !== undefined && target !== undefined) {
        run.compute("elementwise", { kernel: add.kernel(), tensors: { a: gradient, b: gradient, y: target } });
      }
    },
    gradient: (_, __, { y }) => ({ x: { shape: y.shape, data: y.data.map((value) => 2 * value) } }),
  },
});

/** Its cases belong into `cases.ts`: odd sizes, one row. */
export const DOUBLED_CASES: CasesOf<typeof doubled> = [
  { name: "odd sizes", inputs: { x: random(5, 37) }, attributes: {} },
  { name: "one row", inputs: { x: random(1, 3) }, attributes: {} },
];
