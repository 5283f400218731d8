import { ELEMENTWISE } from "../../kernels/elementwise.ts";
import { type Activation, ACTIVATIONS, recordElementwise } from "../elementwise.ts";
import { defineOp } from "../op.ts";

/** y = f(x): SiLU, GELU, or GELU by its tanh approximation. */
export const activation = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<{
  readonly kind: Activation;
}>({
  name: "activation",
  shape: ({ x }) => ({ y: { shape: x } }),
  forward(run, { x }, { kind }, { y }) {
    recordElementwise(run, ELEMENTWISE[kind], x, undefined, y);
  },
  reference({ x }, { kind }) {
    return { y: { shape: x.shape, data: x.data.map(ACTIVATIONS[kind]) } };
  },
});
