// Kernels of machine code on shapes that nobody chose.
import { test } from "bun:test";
import fc from "fast-check";
import { CODES as CODES_STORAGE } from "../families/basis.ts";
import { BASIS_GRADIENT } from "../families/basis-gradient.ts";
import { DELTA } from "../families/delta.ts";
import { GEMM } from "../families/gemm.ts";
import { GROUPED_GEMM } from "../families/grouped-gemm.ts";
import { gateOf, NORMED_GEMM } from "../families/normed-linear.ts";
import { TERNARY } from "../families/ternary.ts";
import { BLOCK } from "../../device/blocks.ts";
import { evaluate } from "../../rows/f64.ts";
import { DTYPE_CODES, isBlockDtype, NUMBER_DTYPES, STORED_DTYPES } from "../../device/dtype.ts";
import { wordsOf } from "../parameters.ts";
import { LISTED_TERMS } from "./routines/layout.ts";
import { fuzz, type Kernel, type Operands, type Trial } from "./testing/trial.ts";

const ONE = 0x3f800000;

const upTo = (max: number) => fc.integer({ min: 1, max });
const flag = fc.integer({ min: 0, max: 1 });

/** Sizes around those of tiles, vectors and blocks of terms. */
const sizes = { rows: upTo(40), cols: upTo(70), terms: fc.oneof(upTo(40), fc.integer({ min: 250, max: 300 })) };

/** A product's words, and how it is cut; blocks have whole blocks of columns or terms. */
const products = fc
  .record({
    ...sizes,
    order: fc.constantFrom("NT", "NN", "TN"),
    stored: fc.constantFrom(...STORED_DTYPES),
    extras: flag,
  })
  .map((shape) => {
    if (!isBlockDtype(shape.stored)) return shape;
    const whole = (count: number) => Math.ceil(count / BLOCK) * BLOCK;
    const order = shape.order === "TN" ? "NN" : shape.order;
    return { ...shape, order, ...(order === "NT" ? { terms: whole(shape.terms) } : { cols: whole(shape.cols) }) };
  });

function cut(rows: number, cols: number, pieceRows: number, pieceCols: number) {
  const pieces = Math.ceil(cols / pieceCols);
  return { words: { rows, cols, pieceRows, pieceCols, pieces }, count: pieces * Math.ceil(rows / pieceRows) };
}

interface Matrix {
  readonly at: number;
  readonly pitch: number;
}

/** Where the matrices of a product are. */
function matricesOf({
  a,
  b: { scales = 0, scalesPitch = 0, ...b },
  y,
}: {
  readonly a: Matrix;
  readonly b: Matrix & { readonly scales?: number; readonly scalesPitch?: number };
  readonly y: Matrix;
}) {
  return {
    a: a.at,
    aPitch: a.pitch,
    b: b.at,
    bPitch: b.pitch,
    bScales: scales,
    bScalesPitch: scalesPitch,
    y: y.at,
    yPitch: y.pitch,
  };
}

type Shape<A> = A extends fc.Arbitrary<infer T> ? T : never;

function product(placed: Operands, { order, rows, cols, terms, stored, extras }: Shape<typeof products>): Trial {
  const [aTerms, bTerms] = [order[0] === "T", order[1] === "N"];
  const a = aTerms ? placed.matrix(terms, rows) : placed.matrix(rows, terms);
  const [bRows, bCols] = bTerms ? [terms, cols] : [cols, terms];
  const b = isBlockDtype(stored) ? placed.blocks(bRows, bCols, stored) : placed.matrix(bRows, bCols, stored);
  const [y, bias, residual] = [
    placed.matrix(rows, cols, "F32", 0),
    placed.matrix(1, cols, "F32", 0),
    placed.matrix(rows, cols, "F32", 0),
  ];
  const { words, count } = cut(rows, cols, 16, 32);
  const added =
    extras === 1 ? { bias: bias.at, residual: residual.at, residualPitch: residual.pitch, accumulate: 1 } : {};
  const dtype = DTYPE_CODES[stored];
  const order01 = { aTerms: Number(aTerms), bTerms: Number(bTerms) };
  const values = {
    ...words,
    ...matricesOf({ a, b, y }),
    ...added,
    ...order01,
    terms,
    bDtype: dtype,
    scale: ONE,
  };
  return {
    kernel: GEMM,
    plain: GEMM,
    values,
    pieces: count,
    results: [y],
    tolerance: isBlockDtype(stored) ? 5e-3 : 1e-4,
  };
}

/** Rows of each group, some of which have none. */
const groups = fc
  .record({ shape: products, rows: fc.array(fc.nat(20), { minLength: 1, maxLength: 5 }) })
  .filter(({ rows }) => rows.some((count) => count > 0));

function groupedProduct(placed: Operands, { shape, rows: counts }: Shape<typeof groups>): Trial {
  const { order, cols, stored } = shape;
  const [isSum, bTerms] = [order === "TN", order !== "NT"];
  const begins = counts.reduce<number[]>((all, count) => [...all, (all.at(-1) ?? 0) + count], [0]);
  const all = begins.at(-1) ?? 0;
  const [rows, terms] = isSum ? [shape.rows, all] : [all, shape.terms];
  const [high, wide] = isSum ? [all, cols] : [counts.length * (bTerms ? terms : cols), bTerms ? cols : terms];
  const a = placed.matrix(all, isSum ? rows : terms);
  const b = isBlockDtype(stored)
    ? placed.blocks(high, wide, stored)
    : placed.matrix(high, wide, isSum ? "F32" : stored);
  const y = placed.matrix(isSum ? counts.length * rows : rows, cols, "F32", 0);
  const { words } = cut(rows, cols, 16, 32);
  const tiles = isSum
    ? counts.length * Math.ceil(rows / 16)
    : Math.floor((rows + Math.min(counts.length, rows) * 15) / 16);
  const grouped = { begins: placed.list(begins.length, (at) => begins[at] ?? 0), groups: counts.length };
  const flags = { aTerms: Number(isSum), bTerms: Number(bTerms), accumulate: Number(isSum) };
  const dtype = isSum ? 0 : DTYPE_CODES[stored];
  const values = {
    ...words,
    ...matricesOf({ a, b, y }),
    ...grouped,
    ...flags,
    terms,
    bDtype: dtype,
    scale: ONE,
  };
  return {
    kernel: GROUPED_GEMM,
    plain: GROUPED_GEMM,
    values,
    pieces: words.pieces * tiles,
    results: [y],
    tolerance: isBlockDtype(stored) ? 5e-3 : 1e-4,
  };
}

const deltas = fc.record({
  ...sizes,
  /** Also as many as a list leads to. */
  terms: fc.oneof(sizes.terms, fc.integer({ min: 1000, max: 2100 })),
  listTerms: fc.constantFrom(256, 1024, LISTED_TERMS),
  fastCount: upTo(80),
  /** Formats, two-bit codes; drawn: dense, sparse, very sparse. */
  storage: fc.constantFrom(0, 1, 2, CODES_STORAGE, 4, 6, 7),
  transposed: flag,
  accumulate: flag,
});

function delta(placed: Operands, shape: Shape<typeof deltas>): Trial {
  const { rows, cols, terms, listTerms, fastCount, storage, transposed, accumulate } = shape;
  const isCodes = storage === CODES_STORAGE;
  const stored = NUMBER_DTYPES.find((_, code) => code === storage);
  const b = isCodes
    ? placed.codes(rows, terms)
    : stored === undefined
      ? { at: 0, pitch: 0 }
      : placed.matrix(rows, terms, stored);
  const lambda = placed.matrix(1, terms);
  const [fast, slow] = [placed.matrix(fastCount, cols), placed.matrix(Math.ceil(terms / fastCount), cols)];
  const y = transposed === 1 ? placed.matrix(cols, rows, "F32", 0) : placed.matrix(rows, cols, "F32", 0);
  const { words, count } = cut(rows, cols, 28, 32);
  const drawn = { drawn: terms + 5, stream: 3, keyLow: 5, keyHigh: 6, threshold: 2000, dropped: 0 };
  const scaled = {
    lambda: lambda.at,
    fastCount,
    fast: fast.at,
    fastPitch: fast.pitch,
    slow: slow.at,
    slowPitch: slow.pitch,
  };
  const basis = { storage, at: b.at, rowBytes: b.pitch, codes: b.at, codesPitch: b.pitch, listTerms };
  const target = { target: y.at, targetPitch: y.pitch, transposed, accumulate, scale: ONE };
  const values = { ...words, ...drawn, ...scaled, ...basis, ...target, terms };
  return { kernel: isCodes ? TERNARY : DELTA, plain: DELTA, values, pieces: count, results: [y], tolerance: 1e-4 };
}

const gradients = fc.record({
  bases: upTo(9),
  rank: upTo(12),
  cols: upTo(70),
  terms: sizes.terms,
  storage: fc.constantFrom(0, 1, 2, CODES_STORAGE),
  peft: flag,
});

function gradient(placed: Operands, { bases, rank, cols, terms, storage, peft }: Shape<typeof gradients>): Trial {
  const rows = bases * rank;
  const right = placed.matrix(terms, cols);
  const codes = placed.codes(rows, terms);
  const p =
    storage === CODES_STORAGE ? placed.decoded(codes, terms, rows) : placed.matrix(terms, rows, NUMBER_DTYPES[storage]);
  // What pads A and γ is a number.
  const [a, gamma] = [placed.matrix(rank, cols, "F32", 7), placed.matrix(bases, cols, "F32", 7)];
  const lambda = placed.matrix(rank, bases);
  const [sliceRows, blockCols] = [96, 32];
  const [slices, blocks] = [Math.ceil(rows / sliceRows), Math.ceil(cols / blockCols)];
  const lambdaParts = placed.matrix(1, blocks * rows);
  const gammaParts = placed.matrix(slices * bases, cols);
  const numbers = { storage: storage % CODES_STORAGE, left: p.at, leftPitch: p.pitch };
  const left = storage === CODES_STORAGE ? { storage, left: codes.at, leftPitch: codes.pitch } : numbers;
  const columns = { right: right.at, rightPitch: right.pitch };
  const factors = {
    a: a.at,
    aPitch: a.pitch,
    lambda: lambda.at,
    lambdaPitch: lambda.pitch,
    gamma: gamma.at,
    gammaPitch: gamma.pitch,
  };
  const parts = { lambdaParts: lambdaParts.at, gammaParts: gammaParts.at, partPitch: gammaParts.pitch };
  const values = {
    rows,
    cols,
    terms,
    bases,
    rank,
    peft,
    ...left,
    ...columns,
    ...factors,
    ...parts,
    sliceRows,
    blockCols,
    blocks,
  };
  const results = [{ ...lambdaParts, bytes: blocks * rows * 4 }, gammaParts];
  const kernels = { kernel: BASIS_GRADIENT, plain: BASIS_GRADIENT, plainValues: numbers };
  return { ...kernels, values, pieces: slices * blocks, results, tolerance: 1e-3 };
}

const normed = fc.record({
  rows: upTo(6),
  cols: sizes.cols,
  terms: sizes.terms,
  stored: fc.constantFrom(...NUMBER_DTYPES),
  hasBranch: fc.boolean(),
  /** None, or one of the activations. */
  gate: fc.constantFrom(0, 1, 2, 3, 4),
});

/** A product of rows that are normalized in scratch first; the module's is put together of the same parts. */
function normedProduct(placed: Operands, { rows, cols, terms, stored, hasBranch, gate }: Shape<typeof normed>): Trial {
  const x = placed.matrix(rows, terms, "F32", 0);
  const weight = placed.matrix(1, terms, "F32", 0);
  const branch = hasBranch ? placed.matrix(rows, terms, "F32", 0) : { at: 0, pitch: 0 };
  const sum = placed.matrix(rows, terms, "F32", 0);
  const b = placed.matrix(gate === 0 ? cols : 2 * cols, terms, stored);
  const y = placed.matrix(rows, cols, "F32", 0);
  const { words, count } = cut(rows, cols, rows, 32);
  const product = { ...matricesOf({ a: x, b, y }), bDtype: DTYPE_CODES[stored] };
  const branched = {
    branch: branch.at,
    branchPitch: branch.pitch,
    branchWeight: weight.at,
    sum: sum.at,
    sumPitch: sum.pitch,
  };
  const norm = { weight: weight.at, offset: ONE, epsilon: 0x3c23d70a, ...branched, gate };
  const values = { ...words, ...product, ...norm, terms, scale: ONE };
  const compute =
    (exports: Readonly<Record<string, unknown>>): Kernel =>
    (parameters, piece, scratch) => {
      const [normedRows, gemm] = ["normedRows", "gemm"].map((name) => exports[name] as Kernel);
      normedRows?.(parameters, piece, scratch);
      const words = placed.heap.words();
      const before = words.slice(parameters / 4, parameters / 4 + 64);
      const at = wordsOf(GEMM);
      const set = (name: keyof typeof at, value: number) => (words[parameters / 4 + at[name]] = value);
      set("a", scratch + 2 ** 19);
      set("aPitch", x.pitch);
      const room = scratch + 2 ** 18 + 256;
      const first = piece * 32 * 4;
      if (gate !== 0) {
        set("yPitch", 32 * 4);
        set("y", room - first);
      }
      gemm?.(parameters, piece, scratch);
      if (gate !== 0) {
        set("b", b.at + cols * b.pitch);
        set("y", room + rows * 32 * 4 - first);
        gemm?.(parameters, piece, scratch);
      }
      words.set(before, parameters / 4);
      if (gate === 0) return;
      const { y: gated } = gateOf(gate).targets;
      const width = Math.ceil(Math.min(32, cols - piece * 32) / 4) * 4;
      const { floats } = placed.heap;
      for (let row = 0; row < rows; row++) {
        const [left, up] = [row, rows + row].map((at) => {
          const begin = (room + at * 32 * 4) / 4;
          return Float64Array.from(floats.subarray(begin, begin + width));
        });
        if (left === undefined || up === undefined) continue;
        floats.set(evaluate(gated, width, { gate: left, up }, {}), (y.at + row * y.pitch + first) / 4);
      }
    };
  const results = hasBranch ? [y, sum] : [y];
  return { kernel: NORMED_GEMM, plain: NORMED_GEMM, compute, values, pieces: count, results, tolerance: 1e-3 };
}

test("products of any shape, order and format", () => fuzz(products, product));
test("products of groups of rows, some without any", () => fuzz(groups, groupedProduct));
test("ΔW of any shape, with every kind of basis", () => fuzz(deltas, delta));
test("gradients of λ and γ of any shape", () => fuzz(gradients, gradient));
test("products of normalized rows of any shape, gated or not", () => fuzz(normed, normedProduct));
