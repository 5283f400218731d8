import { add as plus, constant, div, mul, plusAll, rows, sub, tanh } from "./language.ts";

/** y = a + b: a residual connection. */
export const add = rows({
  name: "add",
  inputs: ["a", "b"],
  value: ({ a, b }) => plus(a, b),
  gradient: ({ dy }) => ({ a: dy, b: dy }),
  cases: [{ sizes: [1, 1] }],
});

/** y = a · b, element by element. */
export const multiply = rows({
  name: "multiply",
  inputs: ["a", "b"],
  value: ({ a, b }) => mul(a, b),
  gradient: ({ a, b, dy }) => ({ a: mul(dy, b), b: mul(dy, a) }),
  cases: [{ sizes: [1, 1] }],
});

/** y = factor · x: multipliers of residual branches and logits (Granite, Cohere). */
export const scale = rows({
  name: "scale",
  inputs: ["x"],
  parameters: ["factor"],
  value: ({ x, factor }) => mul(x, factor),
  gradient: ({ dy, factor }) => ({ x: mul(dy, factor) }),
  cases: [
    { sizes: [1], numbers: { factor: 0.22 } },
    { sizes: [1], numbers: { factor: -3 } },
  ],
});

/** y = cap · tanh(x / cap): keeps logits within ±cap (Gemma 2, arXiv:2408.00118). */
export const softcap = rows({
  name: "softcap",
  inputs: ["x"],
  parameters: ["cap"],
  value: ({ x, cap }) => mul(cap, tanh(div(x, cap))),
  gradient({ y, dy, cap }) {
    const share = mul(y, div(1, cap));
    return { x: mul(dy, sub(1, mul(share, share))) };
  },
  cases: [{ sizes: [200], numbers: { cap: 30 } }],
});

/** y = x · scale + bias + residual: each column has a factor. */
export const scaleColumns = rows({
  name: "scale-columns",
  inputs: ["x", "scale", "bias", "residual"],
  shared: ["scale", "bias"],
  optional: ["bias", "residual"],
  value: ({ x, scale, bias, residual }) => plusAll(mul(x, scale), bias, residual),
  gradient: ({ x, scale, dy }) => ({ x: mul(dy, scale), scale: mul(dy, x), bias: dy, residual: dy }),
  cases: [
    { sizes: [1, 1, 1, 1] },
    { sizes: [1, 1, 1], without: ["residual"] },
    { sizes: [1, 1, 1], without: ["bias"] },
    { sizes: [1, 1], without: ["bias", "residual"] },
  ],
});

/** y = x, y += x and y = 0 are recorded by themselves: no ops, so they have no derivative. */
export const assign = rows({ name: "assign", inputs: ["x"], value: ({ x }) => x, cases: [] });
export const accumulate = rows({ name: "accumulate", inputs: ["x"], value: ({ x, y }) => plus(y, x), cases: [] });
export const zero = rows({ name: "zero", inputs: [], value: () => constant(0), cases: [] });
