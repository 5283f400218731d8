import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { GATES, GATE_SLOPES, recordElementwise, recordElementwiseBackward } from "../elementwise.ts";
import { defineOp, requireShapes } from "../op.ts";

/** y = f(gate) · up, of equal shapes: SwiGLU with SiLU, GeGLU with a GELU (Shazeer, arXiv:2002.05202), or with the logistic function for f. */
export const gatedActivation = defineOp({ inputs: { gate: "needed", up: "needed" }, outputs: { y: "needed" } })<{
  readonly kind: keyof typeof GATES;
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
    const data = gate.data.map((value, at) => GATES[kind](value) * (up.data[at] ?? NaN));
    return { y: { shape: gate.shape, data } };
  },
  derivative: {
    saves: (wanted) => (wanted.has("gate") ? ["gate", "up"] : ["gate"]),
    backward(run, { inputs: { gate: a, up: b }, gradients: { y: gradient }, into }, { kind }) {
      if (gradient === undefined) return;
      const pass = { a, b, gradient, da: into.gate, db: into.up };
      recordElementwiseBackward(run, ELEMENTWISE.gated + ELEMENTWISE[kind], pass);
    },
    gradient({ gate, up }, { kind }, { y }) {
      const by = (value: (at: number) => number) => ({
        shape: y.shape,
        data: y.data.map((gradient, at) => gradient * value(at)),
      });
      return {
        gate: by((at) => GATE_SLOPES[kind](gate.data[at] ?? NaN) * (up.data[at] ?? NaN)),
        up: by((at) => GATES[kind](gate.data[at] ?? NaN)),
      };
    },
  },
});
