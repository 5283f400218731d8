import type { ColumnSums, ScaleColumns, Zero } from "../../device/families/elementwise.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { RECTANGLES, rectangles } from "../pieces.ts";

/** y = x · scale + bias + residual; bias and residual may be left out. */
export const SCALE_COLUMNS = {
  name: "scaleColumns",
  members: {
    ...RECTANGLES,
    x: "pointer",
    xPitch: "u32",
    scale: "pointer",
    bias: "pointer",
    residual: "pointer",
    residualPitch: "u32",
    y: "pointer",
    yPitch: "u32",
  },
} as const satisfies CpuKernel<Members>;

export const ZERO = {
  name: "zero",
  members: { ...RECTANGLES, y: "pointer", yPitch: "u32" },
} as const satisfies CpuKernel<Members>;

/** y = Σ a, Σ a · b or Σ a · b · factor over rows, and over the segments of each. */
export const COLUMN_SUMS = {
  name: "columnSums",
  members: {
    rows: "u32",
    segments: "u32",
    /** Vectors of 4 in a segment. */
    width: "u32",
    a: "pointer",
    aPitch: "u32",
    b: "pointer",
    bPitch: "u32",
    factors: "pointer",
    y: "pointer",
  },
} as const satisfies CpuKernel<Members>;

/** Vectors of 4 columns of a piece. */
export const GROUP = 4;

export function scaleColumns(on: Dispatcher, { x, scale, bias, residual, y }: ScaleColumns): void {
  const { words, count } = rectangles(y.shape);
  on.dispatch(
    SCALE_COLUMNS,
    {
      ...words,
      x: pointer(x),
      xPitch: pitchBytes(x),
      scale: pointer(scale),
      bias: optional(bias),
      residual: optional(residual),
      residualPitch: pitchBytes(residual),
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
    },
    count,
  );
}

export function zero(on: Dispatcher, { y }: Zero): void {
  const { words, count } = rectangles(y.shape);
  on.dispatch(ZERO, { ...words, y: pointer(y, "write"), yPitch: pitchBytes(y) }, count);
}

export function columnSums(on: Dispatcher, { a, times, segments = 1, y }: ColumnSums): void {
  const width = Math.ceil(y.shape[1] / 4);
  on.dispatch(
    COLUMN_SUMS,
    {
      rows: a.shape[0],
      segments,
      width,
      a: pointer(a),
      aPitch: pitchBytes(a),
      b: optional(times?.b),
      bPitch: pitchBytes(times?.b),
      factors: optional(times?.factors),
      y: pointer(y, "write"),
    },
    Math.ceil(width / GROUP),
  );
}
