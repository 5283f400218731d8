import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { recordElementwise } from "../elementwise.ts";
import { defineOp } from "../op.ts";

/** y = factor · x: multipliers of residual branches and logits (Granite, Cohere). */
export const scale = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<{ readonly factor: number }>({
  name: "scale",
  shape: ({ x }) => ({ y: { shape: x } }),
  forward(run, { x }, { factor }, { y }) {
    recordElementwise(run, ELEMENTWISE.scale, x, undefined, y, factor);
  },
  reference: ({ x }, { factor }) => ({ y: { shape: x.shape, data: x.data.map((value) => factor * value) } }),
  derivative: {
    saves: () => [],
    backward(run, { gradients: { y: gradient }, into }, { factor }) {
      if (gradient === undefined || into.x === undefined) return;
      recordElementwise(run, ELEMENTWISE.scale, gradient, undefined, into.x, factor);
    },
    gradient: (_, { factor }, { y }) => ({ x: { shape: y.shape, data: y.data.map((value) => factor * value) } }),
  },
});
