import type { Convolution, ConvolutionGradient } from "../../device/families/convolution.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

/** y = gate · (bias + Σ weight · x); of the gradients `dy` is given, and y is where one goes. */
export const CONVOLUTION = {
  name: "convolution",
  members: {
    tokens: "u32",
    cols: "u32",
    /** Of each column. */
    taps: "u32",
    firstPosition: "u32",
    x: "pointer",
    xPitch: "u32",
    gate: "pointer",
    gatePitch: "u32",
    weight: "pointer",
    bias: "pointer",
    first: "pointer",
    last: "pointer",
    dy: "pointer",
    dyPitch: "u32",
    y: "pointer",
    yPitch: "u32",
    pieceRows: "u32",
  },
} as const satisfies CpuKernel<Members>;

export const CONVOLUTION_ROWS = { ...CONVOLUTION, name: "convolutionRows" } as const;
export const CONVOLUTION_TAPS = { ...CONVOLUTION, name: "convolutionTaps" } as const;

/** What all three are given. */
function given({ x, gate, weight, first }: Pick<Convolution, "x" | "gate" | "weight" | "first">) {
  const [tokens, cols] = gate.shape;
  const taps = weight.shape[1] / cols;
  return {
    pieces: rowPieces(tokens, cols * taps),
    values: {
      tokens,
      cols,
      taps,
      x: pointer(x),
      xPitch: pitchBytes(x),
      gate: pointer(gate),
      gatePitch: pitchBytes(gate),
      weight: pointer(weight),
      first: optional(first),
    },
  };
}

export function convolution(on: Dispatcher, { bias, last, firstPosition, y, ...operands }: Convolution): void {
  const { values, pieces } = given(operands);
  on.dispatch(
    CONVOLUTION,
    {
      ...values,
      firstPosition,
      bias: optional(bias),
      last: optional(last),
      dy: undefined,
      dyPitch: 0,
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
      pieceRows: pieces.pieceRows,
    },
    pieces.count,
  );
}

export function convolutionGradient(on: Dispatcher, { dy, dx, dweight, ...operands }: ConvolutionGradient): void {
  const { values, pieces } = given(operands);
  const all = {
    ...values,
    firstPosition: 0,
    bias: undefined,
    last: undefined,
    dy: pointer(dy),
    dyPitch: pitchBytes(dy),
  };
  if (dx !== undefined) {
    const y = { y: pointer(dx, "write"), yPitch: pitchBytes(dx), pieceRows: pieces.pieceRows };
    on.dispatch(CONVOLUTION_ROWS, { ...all, ...y }, pieces.count);
  }
  if (dweight !== undefined) {
    const y = { y: pointer(dweight, "write"), yPitch: 0, pieceRows: 0 };
    on.dispatch(CONVOLUTION_TAPS, { ...all, ...y }, Math.ceil(values.cols / 4));
  }
}
