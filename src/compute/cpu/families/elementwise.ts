import type { Elementwise, ElementwiseGradient } from "../../device/families/elementwise.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { RECTANGLES, rectangles } from "../pieces.ts";

/** y = f(a, b); widths are vectors of 4. */
export const ELEMENTWISE_KERNEL = cpuKernel("elementwise", {
  ...RECTANGLES,
  kind: "u32",
  a: "matrix",
  b: "matrix",
  y: "target",
  cap: "f32",
});

/** Gradients of y = f(a), or of y = f(a) · b; da or db may be left out. */
export const GRADIENT_KERNEL = cpuKernel("elementwiseGradient", {
  ...RECTANGLES,
  kind: "u32",
  a: "matrix",
  b: "matrix",
  gradient: "matrix",
  da: "target",
  db: "target",
  cap: "f32",
});

/** The kinds are ELEMENTWISE's; assembly/activations.ts says what a new one needs. */
export function elementwise(on: Dispatcher, { kind, a, b, y, cap }: Elementwise): void {
  const { words, count } = rectangles(y.shape);
  on.dispatch(ELEMENTWISE_KERNEL, { ...words, kind, a, b, y, cap }, count);
}

export function elementwiseGradient(on: Dispatcher, pass: ElementwiseGradient): void {
  const { kind, a, b, gradient, da, db, cap } = pass;
  const { words, count } = rectangles(gradient.shape);
  on.dispatch(GRADIENT_KERNEL, { ...words, kind, a, b, gradient, da, db, cap }, count);
}
