import type { ElementwiseBackward } from "../device/families/elementwise.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** The exact definitions of the activations, by transformers' meaning of the names. */
export const ACTIVATIONS = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  "quick-gelu": (x: number) => x / (1 + Math.exp(-1.702 * x)),
} as const;

/** Their derivatives. */
export const ACTIVATION_SLOPES: { readonly [K in keyof typeof ACTIVATIONS]: (x: number) => number } = {
  silu(x) {
    const s = 1 / (1 + Math.exp(-x));
    return s + x * s * (1 - s);
  },
  "gelu-tanh"(x) {
    const scale = Math.sqrt(2 / Math.PI);
    const t = Math.tanh(scale * (x + 0.044715 * x ** 3));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x ** 2);
  },
  gelu: (x) => 0.5 * (1 + erf(x / Math.SQRT2)) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  "quick-gelu"(x) {
    const s = 1 / (1 + Math.exp(-1.702 * x));
    return s + 1.702 * x * s * (1 - s);
  },
};

export type Activation = keyof typeof ACTIVATIONS;

/** What a gate may be, and its derivative; the logistic function is not 0 at 0, and multiplies alone. */
export const GATES = { ...ACTIVATIONS, sigmoid: (x: number) => 1 / (1 + Math.exp(-x)) } as const;
export const GATE_SLOPES: { readonly [K in keyof typeof GATES]: (x: number) => number } = {
  ...ACTIVATION_SLOPES,
  sigmoid: (x) => GATES.sigmoid(x) * (1 - GATES.sigmoid(x)),
};

/** Functions of one number, and their derivatives. All of them are 0 at 0: what lies between rows stays 0. */
export const FUNCTIONS = { ...ACTIVATIONS, expm1: Math.expm1 } as const;
export const SLOPES: { readonly [K in keyof typeof FUNCTIONS]: (x: number) => number } = {
  ...ACTIVATION_SLOPES,
  expm1: Math.exp,
};

/**
 * Records y = f(a, b) over the rows of y. An operand that f does not read may be left out. `kind` is one of ELEMENTWISE.
 */
export function recordElementwise(
  run: Run,
  kind: number,
  a: Tensor | undefined,
  b: Tensor | undefined,
  y: Tensor,
  cap = 1,
): void {
  run.compute("elementwise", { kind, a, b, y, cap });
}

/** Records the gradient of an elementwise function; `kind` is one of ELEMENTWISE. */
export function recordElementwiseBackward(run: Run, kind: number, pass: ElementwiseBackward, cap = 1): void {
  run.compute("elementwiseGradient", { ...pass, kind, cap });
}

/** The error function by its series, and by its continued fraction where that converges faster; near f64. */
function erf(x: number): number {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (size + fraction));
}
