import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { recordElementwise, recordElementwiseBackward } from "../elementwise.ts";
import { defineOp } from "../op.ts";

/** y = cap · tanh(x / cap): keeps logits within ±cap (Gemma 2, arXiv:2408.00118). */
export const softcap = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<{ readonly cap: number }>({
  name: "softcap",
  shape: ({ x }) => ({ y: { shape: x } }),
  forward(run, { x }, { cap }, { y }) {
    recordElementwise(run, ELEMENTWISE.softcap, x, undefined, y, cap);
  },
  reference({ x }, { cap }) {
    return { y: { shape: x.shape, data: x.data.map((value) => cap * Math.tanh(value / cap)) } };
  },
  derivative: {
    saves: () => ["y"],
    backward(run, { outputs: { y: a }, gradients: { y: gradient }, into }, { cap }) {
      if (gradient !== undefined) {
        recordElementwiseBackward(run, ELEMENTWISE.softcap, { a, gradient, da: into.x }, cap);
      }
    },
    gradient({ x }, { cap }, { y }) {
      const data = y.data.map((gradient, at) => gradient * (1 - Math.tanh((x.data[at] ?? NaN) / cap) ** 2));
      return { x: { shape: x.shape, data } };
    },
  },
});
