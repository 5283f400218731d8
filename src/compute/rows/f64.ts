// Row kernels in f64: what they mean.
import { COLUMNS, type Node, reached } from "./language.ts";

type Numbers = (column: number) => number;

const OPERATIONS: Readonly<Record<string, (a: number, b: number, c: number, d: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: (a, b) => Math.min(a, b),
  max: (a, b) => Math.max(a, b),
  exp: Math.exp,
  tanh: Math.tanh,
  erf,
  abs: Math.abs,
  root: Math.sqrt,
  within: (x) => x,
  unless: (x, a, b) => (a < b ? 0 : x),
  select: (a, b, x, y) => (a < b ? x : y),
};

/**
 * The numbers of a graph, column after column; operands and parameters by name.
 * @param count of all rows and segments together: operands of fewer numbers begin anew for each segment
 * @param columns of a segment
 */
export function evaluate(
  root: Node | undefined,
  count: number,
  operands: Readonly<Record<string, Float64Array>>,
  parameters: Readonly<Record<string, number>>,
  columns = count,
): Float64Array {
  if (root === undefined) throw new Error("there is nothing to compute");
  const numbersOf: Readonly<Record<string, number>> = { ...parameters, [COLUMNS]: columns };
  const values = new Map<Node, Numbers>();
  for (const of of reached([root])) {
    const { op, args, data } = of;
    const [a = none, b = none, c = none, d = none] = args.map((arg) => values.get(arg));
    if (op === "load") {
      const numbers = operands[data] ?? new Float64Array();
      values.set(of, (column) => numbers[column % numbers.length] ?? NaN);
    } else if (op === "number" || op === "parameter") {
      const number = op === "number" ? Number(data) : (numbersOf[data] ?? NaN);
      values.set(of, () => number);
    } else if (op === "sum") {
      const sums = Float64Array.from({ length: Math.ceil(count / columns) }, (_, segment) => {
        let total = 0;
        for (let column = segment * columns; column < (segment + 1) * columns; column++) total += a(column);
        return total;
      });
      values.set(of, (column) => sums[Math.floor(column / columns)] ?? NaN);
    } else {
      const apply = OPERATIONS[op];
      if (apply === undefined) throw new Error(`${op} has no meaning in f64`);
      values.set(of, (column) => apply(a(column), b(column), c(column), d(column)));
    }
  }
  return Float64Array.from({ length: count }, (_, column) => (values.get(root) ?? none)(column));
}

const none: Numbers = () => NaN;

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
