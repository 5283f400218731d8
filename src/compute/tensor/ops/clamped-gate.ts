import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { ACTIVATIONS, ACTIVATION_SLOPES, recordElementwise, recordElementwiseBackward } from "../elementwise.ts";
import { at, defineOp, matrixOf, requireShapes } from "../op.ts";

/**
 * y = f(min(gate, limit)) · (1 + up within ±limit), of equal shapes, where f(x) = x / (1 + exp(−1.702 x)): the gate of gpt-oss's
 * experts (transformers' modeling_gpt_oss.py, _apply_gate).
 */
export const clampedGate = defineOp({ inputs: { gate: "needed", up: "needed" }, outputs: { y: "needed" } })<{
  readonly limit: number;
}>({
  name: "clamped-gate",
  shape({ gate, up }) {
    const equal = gate[0] === up[0] && gate[1] === up[1];
    requireShapes("clamped-gate", { gate, up }, equal, "the shapes must be equal");
    return { y: { shape: gate } };
  },
  forward(run, { gate, up }, { limit }, { y }) {
    recordElementwise(run, ELEMENTWISE.clamped, gate, up, y, limit);
  },
  reference({ gate, up }, { limit }) {
    return {
      y: matrixOf(...gate.shape, (row, col) => {
        const x = Math.min(at(gate, row, col), limit);
        return ACTIVATIONS["quick-gelu"](x) * (1 + within(at(up, row, col), limit));
      }),
    };
  },
  derivative: {
    saves: () => ["gate", "up"],
    backward(run, { inputs: { gate: a, up: b }, gradients: { y: gradient }, into }, { limit }) {
      if (gradient === undefined) return;
      recordElementwiseBackward(run, ELEMENTWISE.clamped, { a, b, gradient, da: into.gate, db: into.up }, limit);
    },
    gradient({ gate, up }, { limit }, { y: dy }) {
      return {
        gate: matrixOf(...gate.shape, (row, col) => {
          const x = at(gate, row, col);
          const scale = 1 + within(at(up, row, col), limit);
          return x > limit ? 0 : at(dy, row, col) * ACTIVATION_SLOPES["quick-gelu"](x) * scale;
        }),
        up: matrixOf(...up.shape, (row, col) => {
          const isCut = Math.abs(at(up, row, col)) > limit;
          return isCut ? 0 : at(dy, row, col) * ACTIVATIONS["quick-gelu"](Math.min(at(gate, row, col), limit));
        }),
      };
    },
  },
});

function within(value: number, limit: number): number {
  return Math.max(-limit, Math.min(value, limit));
}
