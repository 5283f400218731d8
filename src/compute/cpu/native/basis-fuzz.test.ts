// Sums with frozen bases, and the gradients of their factors, on shapes that nobody chose.
import { test } from "bun:test";
import fc from "fast-check";
import { CODES as CODES_STORAGE } from "../families/basis.ts";
import { BASIS_GRADIENT } from "../families/basis-gradient.ts";
import { DELTA } from "../families/delta.ts";
import { TERNARY } from "../families/ternary.ts";
import { NUMBER_DTYPES } from "../../device/dtype.ts";
import { at, matrixOf, zeros } from "../../tensor/op.ts";
import { bitsOf } from "./routines/functions.ts";
import { LISTED_TERMS } from "./routines/layout.ts";
import { fuzz, laid, type Operands, type Trial } from "./testing/trial.ts";

const upTo = (max: number) => fc.integer({ min: 1, max });
const flag = fc.integer({ min: 0, max: 1 });
const someTerms = fc.oneof(upTo(40), fc.integer({ min: 250, max: 300 }));

type Shape<A> = A extends fc.Arbitrary<infer T> ? T : never;

/** How a basis is drawn. */
const DRAWN = { stream: 3, keyLow: 5, keyHigh: 6, threshold: 2000, dropped: 0 } as const;

/** A basis: a format, or two-bit codes; drawn: dense, sparse, very sparse. */
function basisOf(placed: Operands, storage: number, rows: number, cols: number) {
  const format = NUMBER_DTYPES[storage];
  const codes = storage === CODES_STORAGE ? placed.codes(rows, cols) : { at: 0, pitch: 0 };
  const { at, pitch } = format === undefined ? codes : placed.matrix(rows, cols, format);
  const words = { storage, at, rowBytes: pitch, drawn: cols + 5, ...DRAWN };
  return { words, at, pitch, numbers: placed.basis(words, rows, cols) };
}

const deltas = fc.record({
  rows: upTo(40),
  cols: upTo(70),
  /** Also as many as a list leads to. */
  terms: fc.oneof(someTerms, fc.integer({ min: 1000, max: 2100 })),
  listTerms: fc.constantFrom(256, 1024, LISTED_TERMS),
  fastCount: upTo(80),
  storage: fc.constantFrom(0, 1, 2, CODES_STORAGE, 4, 6, 7),
  transposed: flag,
  accumulate: flag,
});

function delta(placed: Operands, shape: Shape<typeof deltas>): Trial {
  const { rows, cols, terms, listTerms, fastCount, storage, transposed, accumulate } = shape;
  const b = basisOf(placed, storage, rows, terms);
  const slowCount = Math.ceil(terms / fastCount);
  const lambda = placed.matrix(1, terms);
  const [fast, slow] = [placed.matrix(fastCount, cols), placed.matrix(slowCount, cols)];
  const [high, wide] = transposed === 1 ? [cols, rows] : [rows, cols];
  const y = placed.matrix(high, wide, "F32", 0);
  const pieces = Math.ceil(cols / 32);
  const cut = { rows, cols, pieceRows: 28, pieceCols: 32, pieces };
  const scaled = {
    lambda: lambda.at,
    fastCount,
    fast: fast.at,
    fastPitch: fast.pitch,
    slow: slow.at,
    slowPitch: slow.pitch,
  };
  const basis = { ...b.words, codes: b.at, codesPitch: b.pitch, listTerms };
  const target = { target: y.at, targetPitch: y.pitch, transposed, accumulate, scale: bitsOf(1) };
  const values = { ...cut, ...scaled, ...basis, ...target, terms };
  const expected = () => {
    const by = placed.numbers(lambda, 1, terms);
    const [a, other] = [placed.numbers(fast, fastCount, cols), placed.numbers(slow, slowCount, cols)];
    const before = placed.numbers(y, high, wide);
    const scaledAt = matrixOf(
      terms,
      cols,
      (q, col) => at(by, 0, q) * at(other, Math.floor(q / fastCount), col) * at(a, q % fastCount, col),
    );
    const value = (row: number, col: number): number => {
      let sum = 0;
      for (let q = 0; q < terms; q++) sum += at(b.numbers, row, q) * at(scaledAt, q, col);
      return sum;
    };
    const found = matrixOf(
      high,
      wide,
      (row, col) => (transposed === 1 ? value(col, row) : value(row, col)) + accumulate * at(before, row, col),
    );
    return [laid(found, y)];
  };
  const kernel = storage === CODES_STORAGE ? TERNARY : DELTA;
  return { kernel, expected, values, pieces: pieces * Math.ceil(rows / 28), results: [y], tolerance: 1e-4 };
}

const gradients = fc.record({
  bases: upTo(9),
  rank: upTo(12),
  cols: upTo(70),
  terms: someTerms,
  storage: fc.constantFrom(0, 1, 2, CODES_STORAGE),
  peft: flag,
});

function gradient(placed: Operands, { bases, rank, cols, terms, storage, peft }: Shape<typeof gradients>): Trial {
  const rows = bases * rank;
  // Codes are those of Pᵀ.
  const isCodes = storage === CODES_STORAGE;
  const p = isCodes ? basisOf(placed, storage, rows, terms) : basisOf(placed, storage, terms, rows);
  const right = placed.matrix(terms, cols);
  // What pads A and γ is a number.
  const [a, gamma] = [placed.matrix(rank, cols, "F32", 7), placed.matrix(bases, cols, "F32", 7)];
  const lambda = placed.matrix(rank, bases);
  const [sliceRows, blockCols] = [96, 32];
  const [slices, blocks] = [Math.ceil(rows / sliceRows), Math.ceil(cols / blockCols)];
  const lambdaParts = placed.matrix(1, blocks * rows);
  const gammaParts = placed.matrix(slices * bases, cols);
  const sides = { storage, left: p.at, leftPitch: p.pitch, right: right.at, rightPitch: right.pitch };
  const factors = {
    a: a.at,
    aPitch: a.pitch,
    lambda: lambda.at,
    lambdaPitch: lambda.pitch,
    gamma: gamma.at,
    gammaPitch: gamma.pitch,
  };
  const parts = { lambdaParts: lambdaParts.at, gammaParts: gammaParts.at, partPitch: gammaParts.pitch };
  const sizes = { rows, cols, terms, bases, rank, peft, sliceRows, blockCols, blocks };
  const expected = () => {
    const q = placed.numbers(right, terms, cols);
    const [rowsOfA, rowsOfGamma] = [placed.numbers(a, rank, cols), placed.numbers(gamma, bases, cols)];
    const lambdas = placed.numbers(lambda, rank, bases);
    const [ofLambda, ofGamma] = [zeros(blocks, rows), zeros(slices * bases, cols)];
    for (let row = 0; row < rows; row++) {
      const [k, j] = peft === 1 ? [Math.floor(row / bases), row % bases] : [row % rank, Math.floor(row / rank)];
      for (let col = 0; col < cols; col++) {
        let slope = 0;
        for (let term = 0; term < terms; term++) {
          slope += (isCodes ? at(p.numbers, row, term) : at(p.numbers, term, row)) * at(q, term, col);
        }
        slope *= at(rowsOfA, k, col);
        const block = Math.floor(col / blockCols) * rows + row;
        const part = (Math.floor(row / sliceRows) * bases + j) * cols + col;
        ofLambda.data[block] = (ofLambda.data[block] ?? 0) + slope * at(rowsOfGamma, j, col);
        ofGamma.data[part] = (ofGamma.data[part] ?? 0) + slope * at(lambdas, k, j);
      }
    }
    return [ofLambda.data, laid(ofGamma, gammaParts)];
  };
  const results = [{ ...lambdaParts, bytes: blocks * rows * 4 }, gammaParts];
  const values = { ...sizes, ...sides, ...factors, ...parts };
  return { kernel: BASIS_GRADIENT, expected, values, pieces: slices * blocks, results, tolerance: 1e-3 };
}

test("ΔW of any shape, with every kind of basis", () => fuzz(deltas, delta));
test("gradients of λ and γ of any shape", () => fuzz(gradients, gradient));
