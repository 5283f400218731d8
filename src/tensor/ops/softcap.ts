import { ELEMENTWISE } from "../../kernels/elementwise.ts";
import { recordElementwise } from "../elementwise.ts";
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
});
