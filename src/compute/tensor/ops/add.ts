import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { recordElementwise } from "../elementwise.ts";
import { defineOp, requireShapes } from "../op.ts";

/** y = a + b, of equal shapes: a residual connection. */
export const add = defineOp({ inputs: { a: "needed", b: "needed" }, outputs: { y: "needed" } })<object>({
  name: "add",
  shape({ a, b }) {
    requireShapes("add", { a, b }, a[0] === b[0] && a[1] === b[1], "the shapes must be equal");
    return { y: { shape: a } };
  },
  forward(run, { a, b }, _, { y }) {
    recordElementwise(run, ELEMENTWISE.add, a, b, y);
  },
  reference({ a, b }) {
    return { y: { shape: a.shape, data: a.data.map((value, at) => value + (b.data[at] ?? NaN)) } };
  },
  derivative: {
    saves: () => [],
    backward(run, { gradients: { y: gradient }, into }) {
      if (gradient === undefined) return;
      for (const target of [into.a, into.b]) {
        if (target !== undefined) recordElementwise(run, ELEMENTWISE.copy, gradient, undefined, target);
      }
    },
    gradient: (_, __, { y }) => ({ a: y, b: y }),
  },
});
