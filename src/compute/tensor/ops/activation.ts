import { ELEMENTWISE } from "../../device/families/elementwise.ts";
import { FUNCTIONS, recordElementwise, recordElementwiseBackward, SLOPES } from "../elementwise.ts";
import { defineOp } from "../op.ts";

/**
 * y = f(x): SiLU, GELU, or GELU by its approximations with tanh and with a sigmoid (quick GELU, CLIP's); expm1 is eˣ − 1,
 * which CLIP's scale of logits is made with.
 */
export const activation = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<{
  readonly kind: keyof typeof FUNCTIONS;
}>({
  name: "activation",
  shape: ({ x }) => ({ y: { shape: x } }),
  forward(run, { x }, { kind }, { y }) {
    recordElementwise(run, ELEMENTWISE[kind], x, undefined, y);
  },
  reference({ x }, { kind }) {
    return { y: { shape: x.shape, data: x.data.map(FUNCTIONS[kind]) } };
  },
  derivative: {
    saves: () => ["x"],
    backward(run, { inputs: { x }, gradients: { y: gradient }, into }, { kind }) {
      if (gradient !== undefined) recordElementwiseBackward(run, ELEMENTWISE[kind], { a: x, gradient, da: into.x });
    },
    gradient({ x }, { kind }, { y }) {
      const slope = SLOPES[kind];
      return { x: { shape: x.shape, data: x.data.map((value, at) => slope(value) * (y.data[at] ?? NaN)) } };
    },
  },
});
