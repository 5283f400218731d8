import { recordZero } from "../../compute/tensor/fill.ts";
import { recordStridedSums, type Steps } from "../../compute/tensor/strided-sums.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { type DeltaRows, type Formula, partFrom } from "../formula/formula.ts";
import type { ModuleShape } from "../method/method.ts";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";

/** The sizes of U (a, short) and V (b, short): the longer side of W has at most a · b elements. */
interface KhatriRaoShape {
  /** The products are the rows of ΔW; else, where W has more columns than rows, its columns. */
  readonly inRows: boolean;
  readonly long: number;
  readonly short: number;
  readonly a: number;
  readonly b: number;
}

/** Of more than √long rows U would have some that ΔW does not use. */
export function khatriRaoShape({ out, in: input }: ModuleShape, rank: number): KhatriRaoShape {
  const inRows = out >= input;
  const [long, short] = inRows ? [out, input] : [input, out];
  const a = Math.min(rank, Math.floor(Math.sqrt(long)));
  return { inRows, long, short, a, b: Math.ceil(long / a) };
}

/** Products p = i · b + k of rows i … i + n − 1 of U and k … k + m − 1 of V. */
interface Products {
  readonly i: number;
  readonly n: number;
  readonly k: number;
  readonly m: number;
}

/**
 * ΔW[i·b + k, j] = U[i, j] · V[k, j] (Albert et al., arXiv:2508.00230), the Khatri–Rao product of U and V as far as W has
 * rows for it; of a W with more columns than rows the transpose of that.
 */
function khatriRao(module: ModuleShape, rank: number): Formula<"u" | "v"> {
  const { inRows, short, b } = khatriRaoShape(module, rank);
  /** The products in some rows of ΔW, and which columns of U and V these have. */
  const partOf = ({ first, rows }: DeltaRows) => {
    const [count, cols] = rows.shape;
    return inRows ? { p: first, end: first + count, j: 0 } : { p: 0, end: cols, j: first };
  };
  /** From one j to the next along a row or a column of y, and along its other side by `other`. */
  const steps = (j: number, other: number): Omit<Steps, "term"> =>
    inRows ? { row: other, col: j } : { row: j, col: other };
  return {
    at(of, row, col) {
      const [p, j] = inRows ? [row, col] : [col, row];
      return itemAt(of.u, Math.floor(p / b) * short + j) * itemAt(of.v, (p % b) * short + j);
    },
    form(run, { u, v }, scale, part, accumulate) {
      const { p, end, j } = partOf(part);
      // Columns begin anywhere: what is assigned to some would clear the padding of their last vector, too.
      if (!inRows && !accumulate) recordZero(run, part.rows);
      for (const { i, n, k, m } of productsOf(p, end, b)) {
        for (let row = i; row < i + n; row++) {
          const at = row * b + k - p;
          const y = inRows ? sliceRows(part.rows, at, m) : partFrom(part.rows, 0, at, [part.rows.shape[0], m]);
          const x = { of: partFrom(v, k, j), steps: { ...steps(1, v.pitch), term: 0 } };
          const w = { of: partFrom(u, row, j), steps: { ...steps(1, 0), term: 0 } };
          recordStridedSums(run, { x, w, y, terms: 1, scale, accumulate: accumulate || !inRows });
        }
      }
    },
    fold(run, { u, v }, scale, { first, rows: g }, gradients) {
      const { p, end, j } = partOf({ first, rows: g });
      const [product, along] = inRows ? [g.pitch, 1] : [1, g.pitch];
      const count = inRows ? g.shape[1] : g.shape[0];
      for (const { i, n, k, m } of productsOf(p, end, b)) {
        const of = { ...g, offset: g.offset + (i * b + k - p) * product };
        const added = (y: Tensor, w: Tensor, row: number, term: number, terms: number) =>
          recordStridedSums(run, {
            x: { of, steps: { row, col: along, term } },
            w: { of: w, steps: { row: 0, col: 1, term: w.pitch } },
            y,
            terms,
            scale,
            accumulate: true,
          });
        added(partFrom(gradients.u, i, j, [n, count]), partFrom(v, k, j), b * product, product, m);
        added(partFrom(gradients.v, k, j, [m, count]), partFrom(u, i, j), product, b * product, n);
      }
    },
  };
}

/** Products `first` … `end` − 1: what is left of a row of U, whole rows, and what begins one. */
export function productsOf(first: number, end: number, b: number): Products[] {
  const found: Products[] = [];
  for (let p = first; p < end;) {
    const [i, k] = [Math.floor(p / b), p % b];
    const whole = k === 0 ? Math.floor((end - p) / b) : 0;
    const part = whole > 0 ? { i, n: whole, k, m: b } : { i, n: 1, k, m: Math.min(b - k, end - p) };
    found.push(part);
    p += part.n * part.m;
  }
  return found;
}

/** The spread of V, kaiming_uniform_(a = 5), beside that of a = √5. */
const SPREAD = Math.sqrt(6 / 26);

/**
 * KRAdapter (Albert et al., arXiv:2508.00230): ΔW is the Khatri–Rao product of two trained matrices. As in the authors'
 * layer (github.com/PaulAlbert31/KRAdapter) U begins at zero and V at random, the scale is 2, and the products lie along
 * the longer side of W, whose end leaves some out. The rank is the number of U's rows, which is √long where nothing is
 * said: the fewest parameters.
 */
export const KRADAPTER: FormulaMethod<"u" | "v"> = {
  name: "kradapter",
  title: "KRAdapter",
  peftType: "KRADAPTER",
  usual: { rank: 1024, rankFits: true, alphaPerRank: 2, learningRate: 1e-4 },
  most: (modules) => Math.max(...modules.map((module) => khatriRaoShape(module, Infinity).a)),
  tensors: {
    names: { u: "kradapter_U", v: "kradapter_V" },
    shapes({ r }, module) {
      const { a, b, short } = khatriRaoShape(module, r);
      return { u: [a, short], v: [b, short] };
    },
    meaning: "U is (a, short) and V (b, short): short is W's shorter side, a at most r, a · b at least the longer one",
  },
  start(module, { r }, seed, stream) {
    const { b, short } = khatriRaoShape(module, r);
    return { v: () => kaimingUniform(short, b, seed, stream).map((value) => value * SPREAD) };
  },
  formula: (module, { r }) => khatriRao(module, r),
  notes(modules, rank) {
    const most = KRADAPTER.most(modules);
    if (rank <= most) return [];
    return [`KRAdapter's rank ${rank} is more than √ of a layer's longer side: it trains what rank ${most} does`];
  },
  // U takes V's sums of G, and V takes U's.
  terms: 2,
};

export const kradapter = formulaMethod(KRADAPTER);
