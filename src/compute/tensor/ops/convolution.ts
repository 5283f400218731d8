import { recordColumnSums } from "../column-sums.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";

/** Where the tokens of a convolution stand. */
export interface ConvolutionAttributes {
  /** Position of the first token, where `last` is left out. */
  readonly firstPosition: number;
}

/**
 * A causal convolution of each column by itself, gated: y[t, c] = gate[t, c] · (bias[c] + Σ_j weight[c, j] · x[p − taps + 1 + j, c]),
 * where p is the position of token t. x (positions, cols), gate (tokens, cols), 1 where it is left out and tokens are positions, weight (1, cols · taps) with the taps of a column one
 * after another, bias (1, cols). `last` (1, tokens) U32 is the position of each token, and `first` the first that it sees, as in
 * OPS.attention: positions before that one count as zeros, so that texts may lie one after another.
 */
export const convolution = defineOp({
  inputs: { x: "needed", gate: "optional", weight: "needed", bias: "optional", first: "optional", last: "optional" },
  outputs: { y: "needed" },
})<ConvolutionAttributes>({
  name: "convolution",
  shape({ x, gate, weight, bias, first, last }, { firstPosition }) {
    const [tokens, cols] = gate ?? x;
    const fits =
      x[1] === cols &&
      weight[0] === 1 &&
      weight[1] > 0 &&
      weight[1] % cols === 0 &&
      (bias === undefined || (bias[0] === 1 && bias[1] === cols)) &&
      x[0] >= (last === undefined ? firstPosition + tokens : 1) &&
      [first, last].every((row) => row === undefined || (row[0] === 1 && row[1] === tokens));
    requireShapes("convolution", { x, gate, weight, bias, first, last }, fits, "each column has as many taps");
    return { y: { shape: gate ?? x } };
  },
  forward(run, inputs, { firstPosition }, { y }) {
    run.compute("convolution", { ...inputs, firstPosition, y });
  },
  reference(inputs, attributes) {
    return { y: gated(inputs, convolved(inputs, attributes)) };
  },
  derivative: {
    saves: (wanted) => [
      "first",
      "last",
      ...(wanted.has("gate") || wanted.has("weight") ? ["x" as const] : []),
      ...(wanted.has("gate") ? ["bias" as const] : []),
      "weight",
      ...(wanted.has("x") || wanted.has("weight") || wanted.has("bias") ? ["gate" as const] : []),
    ],
    backward(run, { inputs, gradients: { y: dy }, into }, { firstPosition }) {
      if (dy === undefined) return;
      const { x, gate, weight, first, last } = inputs;
      if (into.gate !== undefined) run.compute("convolution", { ...inputs, gate: dy, firstPosition, y: into.gate });
      if (into.bias !== undefined) recordColumnSums(run, { a: dy, times: gate, y: into.bias });
      if (into.x === undefined && into.weight === undefined) return;
      if (last !== undefined || firstPosition !== 0)
        throw new Error("a convolution over a cache is not differentiated");
      run.compute("convolutionGradient", { x, gate, weight, first, dy, dx: into.x, dweight: into.weight });
    },
    gradient(inputs, attributes, { y: dy }) {
      const { x, gate, weight, bias } = inputs;
      const cols = x.shape[1];
      const sums = convolved(inputs, attributes);
      const by = gated(inputs, dy);
      const [dx, dweight] = [x, weight].map(({ shape }) => matrixOf(...shape, () => 0));
      forEachTap(inputs, attributes, (token, row, tap, taps) => {
        for (let col = 0; col < cols; col++) {
          const g = at(by, token, col);
          add(dx, row * cols + col, g * at(weight, 0, col * taps + tap));
          add(dweight, col * taps + tap, g * at(x, row, col));
        }
      });
      return {
        gate: gate && matrixOf(...gate.shape, (token, col) => at(dy, token, col) * at(sums, token, col)),
        x: dx,
        weight: dweight,
        bias: bias && matrixOf(1, cols, (_, col) => by.data.reduce((sum, g, i) => sum + (i % cols === col ? g : 0), 0)),
      };
    },
  },
});

/** The matrices of a convolution, in f64. */
interface Matrices {
  readonly x: Matrix;
  readonly gate: Matrix | undefined;
  readonly weight: Matrix;
  readonly bias: Matrix | undefined;
  readonly first: Matrix | undefined;
  readonly last: Matrix | undefined;
}

/** Visits the rows of x that each token is made of, and their taps. */
function forEachTap(
  { x, gate, weight, first, last }: Matrices,
  { firstPosition }: ConvolutionAttributes,
  visit: (token: number, row: number, tap: number, taps: number) => void,
): void {
  const [tokens, cols] = (gate ?? x).shape;
  const taps = weight.shape[1] / cols;
  for (let token = 0; token < tokens; token++) {
    const own = last === undefined ? firstPosition + token : at(last, 0, token);
    const begin = first === undefined ? 0 : at(first, 0, token);
    for (let tap = 0; tap < taps; tap++) {
      const row = own - taps + 1 + tap;
      if (row >= begin) visit(token, row, tap, taps);
    }
  }
}

/** Numbers of the gate's shape, times it. */
function gated({ gate }: Matrices, numbers: Matrix): Matrix {
  return gate === undefined
    ? numbers
    : matrixOf(...gate.shape, (token, col) => at(gate, token, col) * at(numbers, token, col));
}

/** The sums that gates multiply. */
function convolved(inputs: Matrices, attributes: ConvolutionAttributes): Matrix {
  const { x, gate, weight, bias } = inputs;
  const cols = x.shape[1];
  const sums = matrixOf(...(gate ?? x).shape, (_, col) => (bias === undefined ? 0 : at(bias, 0, col)));
  forEachTap(inputs, attributes, (token, row, tap, taps) => {
    for (let col = 0; col < cols; col++) {
      add(sums, token * cols + col, at(weight, 0, col * taps + tap) * at(x, row, col));
    }
  });
  return sums;
}

function add(matrix: Matrix | undefined, index: number, value: number): void {
  if (matrix !== undefined) matrix.data[index] = (matrix.data[index] ?? NaN) + value;
}
