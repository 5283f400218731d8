// exp, tanh and erf as plain IEEE operations, each rounded by itself: the same bits on every processor. NaN stays NaN.
import {
  abs,
  add,
  and,
  bits,
  div,
  exp,
  min,
  mul,
  neg,
  type Node,
  or,
  remade,
  select,
  shifted,
  sub,
  unless,
} from "./language.ts";

/** Horner's rule. */
const series = (x: Node, [first = 0, second = 0, ...rest]: readonly number[]): Node =>
  rest.reduce((sum, term) => add(mul(sum, x), term), add(mul(first, x), second));

const SIGN = bits(0x80000000);
const absolute = (x: Node): Node => and(x, bits(0x7fffffff));
/** 1.5 · 2²³ + 127: adding it rounds to an integer n, and leaves n + 127, the exponent of 2ⁿ, in the lowest bits. */
const ROUND = 12583039;

/** eˣ, to 2e-7 (Cephes' expf): by 2ⁿ · eʳ with |r| ≤ ln 2 / 2. Zero below 2⁻¹²⁶, Infinity above 2.4e38. */
function power(given: Node): Node {
  const x = min(given, 89);
  const rounded = add(mul(x, Math.LOG2E), ROUND);
  const n = sub(rounded, ROUND);
  const r = sub(sub(x, mul(n, 0.693359375)), mul(n, -2.1219444e-4));
  const sum = series(
    r,
    [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1],
  );
  const value = add(add(mul(sum, mul(r, r)), r), 1);
  return unless(mul(value, shifted(rounded, 23)), x, -87.3);
}

/** tanh x, to 2e-7 (Cephes' tanhf). */
function tanh(x: Node): Node {
  const size = abs(x);
  const square = mul(x, x);
  const sum = series(
    square,
    [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
  );
  const far = sub(1, div(2, add(exp(add(size, size)), 1)));
  return select(size, 0.625, add(mul(mul(sum, square), x), x), or(far, and(x, SIGN)));
}

/** The error function (Abramowitz and Stegun 7.1.26), |error| ≤ 1.5e-7. */
function erf(x: Node): Node {
  const t = div(1, add(mul(abs(x), 0.3275911), 1));
  const sum = mul(series(t, [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592]), t);
  return or(sub(1, mul(sum, exp(neg(mul(x, x))))), and(x, SIGN));
}

const FUNCTIONS: Readonly<Record<string, (x: Node) => Node>> = { abs: absolute, exp: power, tanh, erf };

/** The same graphs without functions, but for those that are told to stay. */
export function plain(roots: readonly Node[], stays = (_op: string): boolean => false): Node[] {
  const made = new Map<Node, Node>();
  const lowered = (old: Node): Node => {
    const known = made.get(old);
    if (known !== undefined) return known;
    const args = old.args.map(lowered);
    const [x] = args;
    const write = stays(old.op) ? undefined : FUNCTIONS[old.op];
    const node = write === undefined || x === undefined ? remade(old, args) : lowered(write(x));
    made.set(old, node);
    return node;
  };
  return roots.map(lowered);
}
