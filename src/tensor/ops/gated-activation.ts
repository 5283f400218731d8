import { ELEMENTWISE } from "../../kernels/elementwise.ts";
import { type Activation, ACTIVATIONS, recordElementwise } from "../elementwise.ts";
import { defineOp, requireShapes } from "../op.ts";

/** y = f(gate) · up, of equal shapes: SwiGLU with SiLU, GeGLU with a GELU (Shazeer, arXiv:2002.05202). */
export const gatedActivation = defineOp({ inputs: { gate: "needed", up: "needed" }, outputs: { y: "needed" } })<{
  readonly kind: Activation;
}>({
  name: "gated-activation",
  shape({ gate, up }) {
    const equal = gate[0] === up[0] && gate[1] === up[1];
    requireShapes("gated-activation", { gate, up }, equal, "the shapes must be equal");
    return { y: { shape: gate } };
  },
  forward(run, { gate, up }, { kind }, { y }) {
    recordElementwise(run, ELEMENTWISE.gated + ELEMENTWISE[kind], gate, up, y);
  },
  reference({ gate, up }, { kind }) {
    const data = gate.data.map((value, at) => ACTIVATIONS[kind](value) * (up.data[at] ?? NaN));
    return { y: { shape: gate.shape, data } };
  },
});
