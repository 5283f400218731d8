import type { Binding } from "../gpu/stream.ts";
import {
  ELEMENTWISE_BACKWARD_KERNEL,
  ELEMENTWISE_KERNEL,
  ELEMENTWISE_WIDTH,
  elementwiseBackwardParameters,
  elementwiseParameters,
} from "../kernels/elementwise.ts";
import { type Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";
import { place, rowBlocks } from "./row-blocks.ts";

/** The exact definitions of the activations, by transformers' meaning of the names. */
export const ACTIVATIONS = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
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
};

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
  for (const { rows, bound } of sameRows(run, [a, b, y])) {
    const [ofA, ofB, ofY] = bound;
    run.dispatch(
      ELEMENTWISE_KERNEL,
      elementwiseParameters({ kind, rows, width, a: place(ofA), b: place(ofB), y: place(ofY), cap }),
      bound.map((part) => part?.binding ?? run.nothing),
      [Math.ceil(width / ELEMENTWISE_WIDTH), rows],
    );
  }
}

/** What the gradient of y = f(a), or of y = f(a) · b, is computed from and written to. */
export interface ElementwiseBackward {
  /** The operand of f; of the soft cap, whose slope is simpler by its result, y. */
  readonly a: Tensor;
  readonly b?: Tensor | undefined;
  /** ∂loss/∂y. */
  readonly gradient: Tensor;
  /** ∂loss/∂a and ∂loss/∂b, assigned; undefined: not wanted. */
  readonly da?: Tensor | undefined;
  readonly db?: Tensor | undefined;
}

/** Records the gradient of an elementwise function; `kind` is one of ELEMENTWISE. */
export function recordElementwiseBackward(run: Run, kind: number, pass: ElementwiseBackward, cap = 1): void {
  const { a, b, gradient, da, db } = pass;
  if (da !== undefined && db !== undefined && (da.buffer !== db.buffer || tooLarge(run, da))) {
    recordElementwiseBackward(run, kind, { ...pass, db: undefined }, cap);
    recordElementwiseBackward(run, kind, { ...pass, da: undefined }, cap);
    return;
  }
  const outputs = (da === undefined ? 0 : 1) | (db === undefined ? 0 : 2);
  const result = da ?? db;
  if (result === undefined) return;
  const width = Math.ceil(result.shape[1] / 4);
  for (const { rows, bound } of sameRows(run, [a, b, gradient, da, db])) {
    const [ofA, ofB, ofGradient, ofDa, ofDb] = bound;
    run.dispatch(
      ELEMENTWISE_BACKWARD_KERNEL,
      elementwiseBackwardParameters({
        kind,
        outputs,
        width,
        cap,
        a: place(ofA),
        b: place(ofB),
        g: place(ofGradient),
        da: place(ofDa),
        db: place(ofDb),
      }),
      [ofA, ofB, ofGradient, ofDa ?? ofDb].map((part) => part?.binding ?? run.nothing),
      [Math.ceil(width / ELEMENTWISE_WIDTH), rows],
    );
  }
}

/** An operand of one dispatch: where it begins in its binding, and its pitch. */
interface Bound {
  readonly binding: Binding;
  readonly offset: number;
  readonly pitch: number;
}

/** Splits operands of equally many rows alike, so that each part can be bound and dispatched. */
export function sameRows(run: Run, tensors: readonly (Tensor | undefined)[]) {
  const whole = tensors.map((tensor) => (tensor === undefined ? [] : rowBlocks(run, tensor, MOST_ROWS)));
  // The first block of a tensor is its largest; the last one is what was left.
  const most = Math.min(...whole.map(([first]) => first?.rows ?? MOST_ROWS));
  const all = tensors.map((tensor) => (tensor === undefined ? [] : rowBlocks(run, tensor, most)));
  const [longest = []] = all.toSorted((left, right) => right.length - left.length);
  return longest.map(({ rows }, index) => ({
    rows,
    bound: tensors.map((tensor, operand): Bound | undefined => {
      const block = all[operand]?.[index];
      if (tensor === undefined || block === undefined) return undefined;
      return { binding: block.binding, offset: block.offset, pitch: tensor.pitch };
    }),
  }));
}

function tooLarge(run: Run, { buffer }: Tensor): boolean {
  return buffer.size > run.gpu.limits.maxStorageBufferBindingSize;
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
