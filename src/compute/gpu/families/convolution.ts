import type { Convolution, ConvolutionGradient, TailConvolution } from "../../device/families/convolution.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../context.ts";
import {
  CONVOLUTION_FLAGS,
  CONVOLUTION_KERNELS,
  CONVOLUTION_WIDTH,
  TAIL_CONVOLUTION_KERNEL,
} from "../kernels/convolution.ts";

/** What differs between the three kernels: what they read besides, and where results go. */
interface Others extends Partial<Pick<Convolution, "bias" | "last" | "firstPosition">> {
  readonly dy?: Tensor;
  readonly y: Tensor;
}

type Operands = Pick<Convolution, "x" | "gate" | "weight" | "first">;

function parameters({ x, gate, weight, first }: Operands, { bias, last, firstPosition = 0, dy, y }: Others) {
  const [tokens, cols] = (gate ?? dy ?? y).shape;
  return {
    tokens,
    cols,
    width: Math.ceil(cols / 4),
    taps: weight.shape[1] / cols,
    firstPosition,
    flags:
      (bias === undefined ? 0 : CONVOLUTION_FLAGS.hasBias) |
      (first === undefined ? 0 : CONVOLUTION_FLAGS.hasFirsts) |
      (last === undefined ? 0 : CONVOLUTION_FLAGS.hasLasts) |
      (gate === undefined ? 0 : CONVOLUTION_FLAGS.hasGate),
    x,
    gate,
    weightAt: weight.offset,
    biasAt: bias?.offset ?? 0,
    firstsAt: first?.offset ?? 0,
    lastsAt: last?.offset ?? 0,
    dy,
    y,
  };
}

export function convolution(on: Dispatcher, { bias, last, firstPosition, y, ...operands }: Convolution): void {
  const { x, gate, weight, first } = operands;
  on.dispatch(
    CONVOLUTION_KERNELS.forward,
    parameters(operands, { bias, last, firstPosition, y }),
    [x, gate, weight, bias, first, last, y],
    [Math.ceil(y.shape[1] / 4 / CONVOLUTION_WIDTH), y.shape[0]],
  );
}

export function convolutionGradient(on: Dispatcher, { dy, dx, dweight, ...operands }: ConvolutionGradient): void {
  const { x, gate, weight, first } = operands;
  const [tokens, cols] = dy.shape;
  const groups = Math.ceil(cols / 4 / CONVOLUTION_WIDTH);
  const dispatch = (kind: "rows" | "taps", of: Tensor, y: Tensor, count: number) =>
    on.dispatch(CONVOLUTION_KERNELS[kind], parameters(operands, { dy, y }), [of, gate, first, dy, y], [groups, count]);
  if (dx !== undefined) dispatch("rows", weight, dx, tokens);
  if (dweight !== undefined) dispatch("taps", x, dweight, weight.shape[1] / cols);
}

export function tailConvolution(on: Dispatcher, operands: TailConvolution): void {
  const { x, weight, tails, block, first, rows, firstPosition, y } = operands;
  const [tokens, cols] = x.shape;
  on.dispatch(
    TAIL_CONVOLUTION_KERNEL,
    {
      tokens: rows === undefined ? tokens : 1,
      width: cols / 4,
      taps: weight.shape[1] / cols,
      block,
      firstPosition,
      flags:
        (first === undefined ? 0 : CONVOLUTION_FLAGS.hasFirsts) | (rows === undefined ? 0 : CONVOLUTION_FLAGS.hasLasts),
      x,
      weightAt: weight.offset,
      firstsAt: first?.offset ?? 0,
      rowsAt: rows?.offset ?? 0,
      tails,
      y,
    },
    [x, weight, first, rows, tails, y],
    [Math.ceil(cols / 4 / CONVOLUTION_WIDTH), rows === undefined ? 1 : tokens],
  );
}
