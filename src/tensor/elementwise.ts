import { ELEMENTWISE_KERNEL, ELEMENTWISE_WIDTH } from "../kernels/elementwise.ts";
import { f32, uniform } from "../kernels/parameters.ts";
import { type Run, whole } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** The exact definitions of the activations, by transformers' meaning of the names. */
export const ACTIVATIONS = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
} as const;

export type Activation = keyof typeof ACTIVATIONS;

/** Records y = f(a, b) over the rows of y; `b` may be left out where f does not read it. */
export function recordElementwise(run: Run, kind: number, a: Tensor, b: Tensor | undefined, y: Tensor, cap = 1): void {
  const [rows, cols] = y.shape;
  const width = Math.ceil(cols / 4);
  const [bAt, bPitch] = b === undefined ? [0, 0] : [b.offset / 4, b.pitch / 4];
  run.dispatch(
    ELEMENTWISE_KERNEL,
    uniform(kind, rows, width, a.offset / 4, a.pitch / 4, bAt, bPitch, y.offset / 4, y.pitch / 4, f32(cap)),
    [whole(run, a), b === undefined ? run.nothing : whole(run, b), whole(run, y)],
    [Math.ceil(width / ELEMENTWISE_WIDTH), rows],
  );
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
