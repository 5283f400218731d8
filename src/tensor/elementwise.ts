import { ELEMENTWISE_KERNEL, ELEMENTWISE_WIDTH } from "../kernels/elementwise.ts";
import { f32, uniform } from "../kernels/parameters.ts";
import { type Run, rowBlocks, type RowBlock } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** The exact definitions of the activations, by transformers' meaning of the names. */
export const ACTIVATIONS = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
} as const;

export type Activation = keyof typeof ACTIVATIONS;

/** Rows of one dispatch at most; a multiple of 32, as `rowBlocks` cuts. */
const MOST_ROWS = 65_504;

/**
 * Records y = f(a, b) over the rows of y, of which matrices above the binding limit take several dispatches. An operand
 * that f does not read may be left out. `kind` is one of ELEMENTWISE.
 */
export function recordElementwise(
  run: Run,
  kind: number,
  a: Tensor | undefined,
  b: Tensor | undefined,
  y: Tensor,
  cap = 1,
): void {
  const width = Math.ceil(y.shape[1] / 4);
  const blocks = (tensor: Tensor | undefined, most: number) =>
    tensor === undefined ? [] : rowBlocks(run, tensor, most);
  const most = Math.min(MOST_ROWS, ...[a, b, y].flatMap((tensor) => blocks(tensor, MOST_ROWS).map(({ rows }) => rows)));
  const [ofA, ofB] = [blocks(a, most), blocks(b, most)];
  for (const [index, target] of rowBlocks(run, y, most).entries()) {
    const place = (block: RowBlock | undefined, pitch: number | undefined) =>
      block === undefined || pitch === undefined ? [0, 0] : [block.offset / 4, pitch / 4];
    run.dispatch(
      ELEMENTWISE_KERNEL,
      uniform(
        kind,
        target.rows,
        width,
        ...place(ofA[index], a?.pitch),
        ...place(ofB[index], b?.pitch),
        ...place(target, y.pitch),
        f32(cap),
      ),
      [ofA[index]?.binding ?? run.nothing, ofB[index]?.binding ?? run.nothing, target.binding],
      [Math.ceil(width / ELEMENTWISE_WIDTH), target.rows],
    );
  }
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
