import type { Elementwise, ElementwiseGradient } from "../../device/families/elementwise.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { RECTANGLES, rectangles } from "../pieces.ts";

/** y = f(a, b); pitches are bytes from row to row, widths vectors of 4. */
export const ELEMENTWISE_KERNEL = {
  name: "elementwise",
  members: {
    ...RECTANGLES,
    kind: "u32",
    a: "pointer",
    aPitch: "u32",
    b: "pointer",
    bPitch: "u32",
    y: "pointer",
    yPitch: "u32",
    cap: "f32",
  },
} as const satisfies CpuKernel<Members>;

/** Gradients of y = f(a), or of y = f(a) · b; da or db may be left out. */
export const GRADIENT_KERNEL = {
  name: "elementwiseGradient",
  members: {
    ...RECTANGLES,
    kind: "u32",
    a: "pointer",
    aPitch: "u32",
    b: "pointer",
    bPitch: "u32",
    gradient: "pointer",
    gradientPitch: "u32",
    da: "pointer",
    daPitch: "u32",
    db: "pointer",
    dbPitch: "u32",
    cap: "f32",
  },
} as const satisfies CpuKernel<Members>;

/** The kinds are ELEMENTWISE's; assembly/activations.ts says what a new one needs. */
export function elementwise(on: Dispatcher, { kind, a, b, y, cap }: Elementwise): void {
  const { words, count } = rectangles(y.shape);
  on.dispatch(
    ELEMENTWISE_KERNEL,
    {
      ...words,
      kind,
      a: optional(a),
      aPitch: pitchBytes(a),
      b: optional(b),
      bPitch: pitchBytes(b),
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
      cap,
    },
    count,
  );
}

export function elementwiseGradient(on: Dispatcher, pass: ElementwiseGradient): void {
  const { kind, a, b, gradient, da, db, cap } = pass;
  const { words, count } = rectangles(gradient.shape);
  on.dispatch(
    GRADIENT_KERNEL,
    {
      ...words,
      kind,
      a: pointer(a),
      aPitch: pitchBytes(a),
      b: optional(b),
      bPitch: pitchBytes(b),
      gradient: pointer(gradient),
      gradientPitch: pitchBytes(gradient),
      da: optional(da, "write"),
      daPitch: pitchBytes(da),
      db: optional(db, "write"),
      dbPitch: pitchBytes(db),
      cap,
    },
    count,
  );
}
