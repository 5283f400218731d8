import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { recordElementwise } from "../elementwise.ts";
import { defineOp, type Matrix, requireShapes } from "../op.ts";

/** y = a · b, element by element, of equal shapes. */
export const multiply = defineOp({ inputs: { a: "needed", b: "needed" }, outputs: { y: "needed" } })<object>({
  name: "multiply",
  shape({ a, b }) {
    requireShapes("multiply", { a, b }, a[0] === b[0] && a[1] === b[1], "the shapes must be equal");
    return { y: { shape: a } };
  },
  forward(run, { a, b }, _, { y }) {
    recordElementwise(run, ELEMENTWISE.multiply, a, b, y);
  },
  reference: ({ a, b }) => ({ y: times(a, b) }),
  derivative: {
    saves: (wanted) => [...(wanted.has("a") ? ["b" as const] : []), ...(wanted.has("b") ? ["a" as const] : [])],
    backward(run, { inputs: { a, b }, gradients: { y: dy }, into }) {
      if (dy === undefined) return;
      if (into.a !== undefined) recordElementwise(run, ELEMENTWISE.multiply, dy, b, into.a);
      if (into.b !== undefined) recordElementwise(run, ELEMENTWISE.multiply, dy, a, into.b);
    },
    gradient: ({ a, b }, _, { y: dy }) => ({ a: times(dy, b), b: times(dy, a) }),
  },
});

function times(a: Matrix, b: Matrix): Matrix {
  return { shape: a.shape, data: a.data.map((value, index) => value * (b.data[index] ?? NaN)) };
}
