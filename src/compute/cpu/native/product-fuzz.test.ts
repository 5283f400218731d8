// Products on shapes that nobody chose.
import { test } from "bun:test";
import fc from "fast-check";
import { GEMM } from "../families/gemm.ts";
import { GROUPED_GEMM } from "../families/grouped-gemm.ts";
import { gateOf, NORMED_GEMM } from "../families/normed-linear.ts";
import { BLOCK } from "../../device/blocks.ts";
import { evaluate } from "../../rows/f64.ts";
import { DTYPE_CODES, isBlockDtype, NUMBER_DTYPES, STORED_DTYPES, type StoredDtype } from "../../device/dtype.ts";
import { at, type Matrix, matrixOf, zeros } from "../../tensor/op.ts";
import { bitsOf } from "./routines/functions.ts";
import { fuzz, laid, type Operands, type Trial } from "./testing/trial.ts";

const ONE = bitsOf(1);

const upTo = (max: number) => fc.integer({ min: 1, max });
const flag = fc.integer({ min: 0, max: 1 });

/** Sizes around those of tiles, vectors and blocks of terms. */
const sizes = { rows: upTo(40), cols: upTo(70), terms: fc.oneof(upTo(40), fc.integer({ min: 250, max: 300 })) };

/** A product's words, and how it is cut; blocks have whole blocks of columns or terms. */
const products = fc
  .record({
    ...sizes,
    order: fc.constantFrom("NT", "NN", "TN"),
    format: fc.constantFrom(...STORED_DTYPES),
    extras: flag,
  })
  .map((shape) => {
    if (!isBlockDtype(shape.format)) return shape;
    const whole = (count: number) => Math.ceil(count / BLOCK) * BLOCK;
    const order = shape.order === "TN" ? "NN" : shape.order;
    return { ...shape, order, ...(order === "NT" ? { terms: whole(shape.terms) } : { cols: whole(shape.cols) }) };
  });

/** Rows and columns of pieces. */
function cut(rows: number, cols: number, pieceRows: number, pieceCols: number) {
  const pieces = Math.ceil(cols / pieceCols);
  return { words: { rows, cols, pieceRows, pieceCols, pieces }, count: pieces * Math.ceil(rows / pieceRows) };
}

/** A matrix in any format, and its numbers. */
function stored(placed: Operands, rows: number, cols: number, format: StoredDtype) {
  if (isBlockDtype(format)) return placed.blocks(rows, cols, format);
  const matrix = placed.matrix(rows, cols, format);
  return { ...matrix, scales: 0, scalesPitch: 0, numbers: placed.numbers(matrix, rows, cols, format) };
}

interface Placed {
  readonly at: number;
  readonly pitch: number;
}

/** Where the matrices of a product are. */
function matricesOf({ a, b, y }: { readonly a: Placed; readonly b: ReturnType<typeof stored>; readonly y: Placed }) {
  const words = { a: a.at, aPitch: a.pitch, b: b.at, bPitch: b.pitch, y: y.at, yPitch: y.pitch };
  return { ...words, bScales: b.scales, bScalesPitch: b.scalesPitch };
}

type Shape<A> = A extends fc.Arbitrary<infer T> ? T : never;

/** Σ a · b over so many terms, in f64. */
function sum(terms: number, product: (term: number) => number): number {
  let sum = 0;
  for (let term = 0; term < terms; term++) sum += product(term);
  return sum;
}

function product(placed: Operands, { order, rows, cols, terms, format, extras }: Shape<typeof products>): Trial {
  const [aTerms, bTerms] = [order[0] === "T", order[1] === "N"];
  const a = aTerms ? placed.matrix(terms, rows) : placed.matrix(rows, terms);
  const b = bTerms ? stored(placed, terms, cols, format) : stored(placed, cols, terms, format);
  const [y, bias, residual] = [
    placed.matrix(rows, cols, "F32", 0),
    placed.matrix(1, cols, "F32", 0),
    placed.matrix(rows, cols, "F32", 0),
  ];
  const { words, count } = cut(rows, cols, 16, 32);
  const added =
    extras === 1 ? { bias: bias.at, residual: residual.at, residualPitch: residual.pitch, accumulate: 1 } : {};
  const flags = { aTerms: Number(aTerms), bTerms: Number(bTerms), bDtype: DTYPE_CODES[format] };
  const expected = () => {
    const x = aTerms ? placed.numbers(a, terms, rows) : placed.numbers(a, rows, terms);
    const ofA = (row: number, term: number) => (aTerms ? at(x, term, row) : at(x, row, term));
    const ofB = (term: number, col: number) => (bTerms ? at(b.numbers, term, col) : at(b.numbers, col, term));
    const others = [y, residual].map((matrix) => placed.numbers(matrix, rows, cols));
    const ofBias = placed.numbers(bias, 1, cols);
    const rest = (row: number, col: number) =>
      others.reduce((sum, matrix) => sum + at(matrix, row, col), at(ofBias, 0, col));
    const value = (row: number, col: number) => sum(terms, (term) => ofA(row, term) * ofB(term, col));
    return [
      laid(
        matrixOf(rows, cols, (row, col) => value(row, col) + (extras === 1 ? rest(row, col) : 0)),
        y,
      ),
    ];
  };
  const values = { ...words, ...matricesOf({ a, b, y }), ...added, ...flags, terms, scale: ONE };
  const tolerance = isBlockDtype(format) ? 5e-3 : 1e-4;
  return { kernel: GEMM, expected, values, pieces: count, results: [y], tolerance };
}

/** Rows of each group, some of which have none. */
const groups = fc
  .record({ shape: products, rows: fc.array(fc.nat(20), { minLength: 1, maxLength: 5 }) })
  .filter(({ rows }) => rows.some((count) => count > 0));

function groupedProduct(placed: Operands, { shape, rows: counts }: Shape<typeof groups>): Trial {
  const { order, cols } = shape;
  const [isSum, bTerms] = [order === "TN", order !== "NT"];
  const format = isSum ? "F32" : shape.format;
  const begins = counts.reduce<number[]>((all, count) => [...all, (all.at(-1) ?? 0) + count], [0]);
  const all = begins.at(-1) ?? 0;
  const [rows, terms] = isSum ? [shape.rows, all] : [all, shape.terms];
  const [high, wide] = isSum ? [all, cols] : [counts.length * (bTerms ? terms : cols), bTerms ? cols : terms];
  const a = placed.matrix(all, isSum ? rows : terms);
  const b = stored(placed, high, wide, format);
  const height = isSum ? counts.length * rows : rows;
  const y = placed.matrix(height, cols, "F32", 0);
  const { words } = cut(rows, cols, 16, 32);
  const tiles = isSum
    ? counts.length * Math.ceil(rows / 16)
    : Math.floor((rows + Math.min(counts.length, rows) * 15) / 16);
  const grouped = { begins: placed.list(begins.length, (at) => begins[at] ?? 0), groups: counts.length };
  const flags = { aTerms: Number(isSum), bTerms: Number(bTerms), accumulate: Number(isSum) };
  const expected = () => {
    const x = placed.numbers(a, all, isSum ? rows : terms);
    const before = placed.numbers(y, height, cols);
    const value = (row: number, col: number): number => {
      if (isSum) {
        const [group, own] = [Math.floor(row / rows), row % rows];
        const first = begins[group] ?? 0;
        const found = sum(counts[group] ?? 0, (term) => at(x, first + term, own) * at(b.numbers, first + term, col));
        return at(before, row, col) + found;
      }
      const group = begins.findLastIndex((begin) => begin <= row);
      const ofB = (term: number) =>
        bTerms ? at(b.numbers, group * terms + term, col) : at(b.numbers, group * cols + col, term);
      return sum(terms, (term) => at(x, row, term) * ofB(term));
    };
    return [laid(matrixOf(height, cols, value), y)];
  };
  const values = {
    ...words,
    ...matricesOf({ a, b, y }),
    ...grouped,
    ...flags,
    terms,
    bDtype: DTYPE_CODES[format],
    scale: ONE,
  };
  const tolerance = isBlockDtype(format) ? 5e-3 : 1e-4;
  return { kernel: GROUPED_GEMM, expected, values, pieces: words.pieces * tiles, results: [y], tolerance };
}

const normed = fc.record({
  rows: upTo(6),
  cols: sizes.cols,
  terms: sizes.terms,
  format: fc.constantFrom(...NUMBER_DTYPES),
  hasBranch: fc.boolean(),
  /** None, or one of the activations. */
  gate: fc.constantFrom(0, 1, 2, 3, 4),
});

const EPSILON = 1 / 64;

/** Rows with a root mean square of 1, times 1 + weight. */
function normalized(x: Matrix, weight: Matrix): Matrix {
  const [rows, cols] = x.shape;
  const sizes = Array.from({ length: rows }, (_, row) =>
    Math.sqrt(sum(cols, (col) => at(x, row, col) ** 2) / cols + EPSILON),
  );
  return matrixOf(rows, cols, (row, col) => (at(x, row, col) / (sizes[row] ?? NaN)) * (1 + at(weight, 0, col)));
}

/** A product of rows that are normalized in scratch first. */
function normedProduct(placed: Operands, { rows, cols, terms, format, hasBranch, gate }: Shape<typeof normed>): Trial {
  const x = placed.matrix(rows, terms, "F32", 0);
  const weight = placed.matrix(1, terms, "F32", 0);
  const branch = placed.matrix(rows, terms, "F32", 0);
  const total = placed.matrix(rows, terms, "F32", 0);
  const b = stored(placed, gate === 0 ? cols : 2 * cols, terms, format);
  const y = placed.matrix(rows, cols, "F32", 0);
  const { words, count } = cut(rows, cols, rows, 32);
  const branched = {
    branch: hasBranch ? branch.at : 0,
    branchPitch: branch.pitch,
    branchWeight: weight.at,
    sum: total.at,
    sumPitch: total.pitch,
  };
  const norm = { weight: weight.at, offset: ONE, epsilon: bitsOf(EPSILON), ...branched, gate };
  const expected = () => {
    const by = placed.numbers(weight, 1, terms);
    const added = hasBranch ? normalized(placed.numbers(branch, rows, terms), by) : zeros(rows, terms);
    const own = placed.numbers(x, rows, terms);
    const all = matrixOf(rows, terms, (row, term) => at(own, row, term) + at(added, row, term));
    const from = normalized(all, by);
    const products = matrixOf(rows, gate === 0 ? cols : 2 * cols, (row, col) =>
      sum(terms, (term) => at(from, row, term) * at(b.numbers, col, term)),
    );
    const gated = () => {
      const { y } = gateOf(gate).targets;
      const rowsOf = Array.from({ length: rows }, (_, row) =>
        products.data.subarray(row * 2 * cols, (row + 1) * 2 * cols),
      );
      return rowsOf.flatMap((row) => [
        ...evaluate(y, cols, { gate: row.subarray(0, cols), up: row.subarray(cols) }, {}),
      ]);
    };
    const found: Matrix = gate === 0 ? products : { shape: [rows, cols], data: Float64Array.from(gated()) };
    return [laid(found, y), ...(hasBranch ? [laid(all, total)] : [])];
  };
  const product = { ...matricesOf({ a: x, b, y }), bDtype: DTYPE_CODES[format] };
  const values = { ...words, ...product, ...norm, terms, scale: ONE };
  const results = hasBranch ? [y, total] : [y];
  return { kernel: NORMED_GEMM, expected, values, pieces: count, results, tolerance: 1e-3 };
}

test("products of any shape, order and format", () => fuzz(products, product));
test("products of groups of rows, some without any", () => fuzz(groups, groupedProduct));
test("products of normalized rows of any shape, gated or not", () => fuzz(normed, normedProduct));
