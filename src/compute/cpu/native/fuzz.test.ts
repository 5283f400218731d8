// Kernels of machine code on shapes that nobody chose: beside the module's plain forms, with every operand at the edge of a page that
// cannot be read, and byte by byte beside each other.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { CODES as CODES_STORAGE } from "../families/basis.ts";
import { BASIS_GRADIENT } from "../families/basis-gradient.ts";
import { DELTA } from "../families/delta.ts";
import { GEMM } from "../families/gemm.ts";
import { NORMED_GEMM } from "../families/normed-linear.ts";
import { TERNARY } from "../families/ternary.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { availableCodes, type CpuCode, mappedCode } from "./choose.ts";
import { nativeKernels } from "./kernels/index.ts";
import { FMA_KERNELS } from "./kernels/names.ts";
import { BLOCK, BLOCK_BYTES, BLOCKS, type Blocks, STORED, STORED_BYTES, type Stored } from "./machine.ts";
import { type Edge, GuardedHeap } from "./testing/guarded.ts";
import { encoded, noise } from "./testing/numbers.ts";

const NATIVE = availableCodes().filter((code): code is Exclude<CpuCode, "wasm"> => code !== "wasm");
const SCRATCH = 2 ** 20;
const ONE = 0x3f800000;

type Values = Readonly<Record<string, number>>;
type Kernel = (parameters: number, piece: number, scratch: number) => void;

/** A computation on operands that it places itself, among them the results. */
interface Trial {
  readonly kernel: CpuKernel<Members>;
  readonly values: Values;
  /** The module's kernel, and what of its words differs. */
  readonly plain: CpuKernel<Members>;
  readonly plainValues?: Values;
  /** Computes by the module what is no kernel of it. */
  readonly compute?: (exports: Readonly<Record<string, unknown>>) => Kernel;
  readonly pieces: number;
  readonly results: readonly { readonly at: number; readonly bytes: number }[];
  /** Of the largest result, or of 1. */
  readonly tolerance: number;
}

/** Places operands at an edge, each of its own numbers. */
class Places {
  readonly heap: GuardedHeap;
  readonly edge: Edge;
  #turn = 0.5;

  constructor(heap: GuardedHeap, edge: Edge) {
    this.heap = heap;
    this.edge = edge;
  }

  /** Rows of whole 16 bytes; what pads them is no number unless it is said to be one. */
  matrix(
    rows: number,
    cols: number,
    format: Stored = "F32",
    padding = NaN,
  ): { readonly at: number; readonly pitch: number; readonly bytes: number } {
    const each = STORED_BYTES[format];
    const width = Math.ceil((cols * each) / 16) * (16 / each);
    const bytes = rows * width * each;
    const at = this.heap.part(bytes, this.edge);
    const turn = (this.#turn += 1.3);
    this.heap.bytes.set(
      encoded(format, rows * width, (index) => (index % width < cols ? noise(index, turn) : padding)),
      at,
    );
    return { at, pitch: width * each, bytes };
  }

  /** Two-bit codes in rows of whole words. */
  codes(rows: number, cols: number): { readonly at: number; readonly pitch: number } {
    const pitch = Math.ceil(cols / 16) * 4;
    const at = this.heap.part(rows * pitch, this.edge);
    for (let word = 0; word < (rows * pitch) / 4; word++) {
      const codes = Math.floor((noise(word, 7) + 1) * 2 ** 31) >>> 0;
      this.heap.words()[at / 4 + word] = codes & ~((codes >>> 1) & 0x55555555);
    }
    return { at, pitch };
  }

  /** What codes of (cols, rows) say, as numbers of (rows, cols). */
  decoded(codes: { readonly at: number; readonly pitch: number }, rows: number, cols: number) {
    const numbers = this.matrix(rows, cols);
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        const word = this.heap.words()[(codes.at + col * codes.pitch) / 4 + Math.floor(row / 16)] ?? 0;
        this.heap.floats[(numbers.at + row * numbers.pitch) / 4 + col] =
          [0, 1, -1][(word >>> (2 * (row % 16))) & 3] ?? NaN;
      }
    }
    return numbers;
  }

  blocks(rows: number, cols: number, format: Blocks) {
    const pitch = (cols / BLOCK) * BLOCK_BYTES[format];
    const at = this.heap.part(rows * pitch, this.edge);
    for (let byte = 0; byte < rows * pitch; byte++) this.heap.bytes[at + byte] = byte * 167;
    const scalesPitch = (cols / BLOCK) * 2;
    const scales = this.heap.part(rows * scalesPitch, this.edge);
    for (let half = 0; half < (rows * scalesPitch) / 2; half++) this.heap.halves[scales / 2 + half] = 0x1c00 + half;
    return { at, pitch, scales, scalesPitch };
  }
}

const upTo = (max: number) => fc.integer({ min: 1, max });
const flag = fc.integer({ min: 0, max: 1 });

/** Sizes around those of tiles, vectors and blocks of terms. */
const sizes = { rows: upTo(40), cols: upTo(70), terms: fc.oneof(upTo(40), fc.integer({ min: 250, max: 300 })) };

/** A product's words, and how it is cut; blocks have whole blocks of columns or terms. */
const products = fc
  .record({
    ...sizes,
    order: fc.constantFrom("NT", "NN", "TN"),
    stored: fc.constantFrom(...STORED, ...BLOCKS),
    extras: flag,
  })
  .map((shape) => {
    if (!isBlocks(shape.stored)) return shape;
    const whole = (count: number) => Math.ceil(count / BLOCK) * BLOCK;
    const order = shape.order === "TN" ? "NN" : shape.order;
    return { ...shape, order, ...(order === "NT" ? { terms: whole(shape.terms) } : { cols: whole(shape.cols) }) };
  });

function isBlocks(stored: Stored | Blocks): stored is Blocks {
  return stored === "Q8_0" || stored === "Q4_0";
}

function cut(rows: number, cols: number, pieceRows: number, pieceCols: number) {
  const pieces = Math.ceil(cols / pieceCols);
  return { words: { rows, cols, pieceRows, pieceCols, pieces }, count: pieces * Math.ceil(rows / pieceRows) };
}

type Shape<A> = A extends fc.Arbitrary<infer T> ? T : never;

function product(places: Places, { order, rows, cols, terms, stored, extras }: Shape<typeof products>): Trial {
  const [aTerms, bTerms] = [order[0] === "T", order[1] === "N"];
  const a = aTerms ? places.matrix(terms, rows) : places.matrix(rows, terms);
  const [bRows, bCols] = bTerms ? [terms, cols] : [cols, terms];
  const b = isBlocks(stored)
    ? places.blocks(bRows, bCols, stored)
    : { ...places.matrix(bRows, bCols, stored), scales: 0, scalesPitch: 0 };
  const [y, bias, residual] = [
    places.matrix(rows, cols, "F32", 0),
    places.matrix(1, cols, "F32", 0),
    places.matrix(rows, cols, "F32", 0),
  ];
  const { words, count } = cut(rows, cols, 16, 32);
  const added =
    extras === 1 ? { bias: bias.at, residual: residual.at, residualPitch: residual.pitch, accumulate: 1 } : {};
  const operands = { a: a.at, aPitch: a.pitch, b: b.at, bPitch: b.pitch, scales: b.scales, scalesPitch: b.scalesPitch };
  const dtype = [...STORED, ...BLOCKS].indexOf(stored);
  const order01 = { aTerms: Number(aTerms), bTerms: Number(bTerms) };
  const values = { ...words, ...operands, ...added, ...order01, terms, dtype, y: y.at, yPitch: y.pitch, scale: ONE };
  return { kernel: GEMM, plain: GEMM, values, pieces: count, results: [y], tolerance: isBlocks(stored) ? 5e-3 : 1e-4 };
}

const deltas = fc.record({
  ...sizes,
  fastCount: upTo(80),
  /** Formats, two-bit codes; drawn: dense, sparse, very sparse. */
  storage: fc.constantFrom(0, 1, 2, CODES_STORAGE, 4, 6, 7),
  transposed: flag,
  accumulate: flag,
});

function delta(places: Places, shape: Shape<typeof deltas>): Trial {
  const { rows, cols, terms, fastCount, storage, transposed, accumulate } = shape;
  const isCodes = storage === CODES_STORAGE;
  const stored = STORED[storage];
  const b = isCodes
    ? places.codes(rows, terms)
    : stored === undefined
      ? { at: 0, pitch: 0 }
      : places.matrix(rows, terms, stored);
  const lambda = places.matrix(1, terms);
  const [fast, slow] = [places.matrix(fastCount, cols), places.matrix(Math.ceil(terms / fastCount), cols)];
  const y = transposed === 1 ? places.matrix(cols, rows, "F32", 0) : places.matrix(rows, cols, "F32", 0);
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
  const basis = { storage, at: b.at, rowBytes: b.pitch, codes: b.at, codesPitch: b.pitch, listTerms: 256 };
  const target = { target: y.at, pitch: y.pitch, transposed, accumulate, scale: ONE };
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

function gradient(places: Places, { bases, rank, cols, terms, storage, peft }: Shape<typeof gradients>): Trial {
  const rows = bases * rank;
  const right = places.matrix(terms, cols);
  const codes = places.codes(rows, terms);
  const p =
    storage === CODES_STORAGE ? places.decoded(codes, terms, rows) : places.matrix(terms, rows, STORED[storage]);
  // What pads A and γ is a number.
  const [a, gamma] = [places.matrix(rank, cols, "F32", 7), places.matrix(bases, cols, "F32", 7)];
  const lambda = places.matrix(rank, bases);
  const [sliceRows, blockCols] = [96, 32];
  const [slices, blocks] = [Math.ceil(rows / sliceRows), Math.ceil(cols / blockCols)];
  const lambdaParts = places.matrix(1, blocks * rows);
  const gammaParts = places.matrix(slices * bases, cols);
  const numbers = { storage: storage % CODES_STORAGE, at: p.at, rowBytes: p.pitch };
  const left = storage === CODES_STORAGE ? { storage, at: codes.at, rowBytes: codes.pitch } : numbers;
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
  stored: fc.constantFrom(...STORED),
  hasBranch: fc.boolean(),
  /** None, or one of the activations. */
  gate: fc.constantFrom(0, 1, 2, 3, 7),
});

/** A product of rows that are normalized in scratch first; the module's is put together of the same parts. */
function normedProduct(places: Places, { rows, cols, terms, stored, hasBranch, gate }: Shape<typeof normed>): Trial {
  const x = places.matrix(rows, terms, "F32", 0);
  const weight = places.matrix(1, terms, "F32", 0);
  const branch = hasBranch ? places.matrix(rows, terms, "F32", 0) : { at: 0, pitch: 0 };
  const sum = places.matrix(rows, terms, "F32", 0);
  const b = places.matrix(gate === 0 ? cols : 2 * cols, terms, stored);
  const y = places.matrix(rows, cols, "F32", 0);
  const { words, count } = cut(rows, cols, rows, 32);
  const product = {
    a: x.at,
    aPitch: x.pitch,
    b: b.at,
    bPitch: b.pitch,
    dtype: STORED.indexOf(stored),
    y: y.at,
    yPitch: y.pitch,
  };
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
      const [normedRows, gemm, gatedRows] = ["normedRows", "gemm", "gatedRows"].map((name) => exports[name] as Kernel);
      normedRows?.(parameters, piece, scratch);
      const words = places.heap.words();
      const before = words.slice(parameters / 4, parameters / 4 + 64);
      const set = (name: string, value: number) =>
        (words[parameters / 4 + Object.keys(GEMM.members).indexOf(name)] = value);
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
      if (gate !== 0) gatedRows?.(parameters, piece, scratch);
    };
  const results = hasBranch ? [y, sum] : [y];
  return { kernel: NORMED_GEMM, plain: NORMED_GEMM, compute, values, pieces: count, results, tolerance: 1e-3 };
}

/** The bytes of a trial's results, by a kernel, from what they were before. */
function run(
  heap: GuardedHeap,
  { pieces, results }: Trial,
  values: Values,
  kernel: CpuKernel<Members>,
  parameters: number,
  scratch: number,
  compute: Kernel,
): Float32Array[] {
  const before = results.map(({ at, bytes }) => heap.bytes.slice(at, at + bytes));
  Object.keys(kernel.members).forEach((name, word) => (heap.words()[parameters / 4 + word] = values[name] ?? 0));
  for (let piece = 0; piece < pieces; piece++) compute(parameters, piece, scratch);
  return results.map(({ at, bytes }, index) => {
    const found = new Float32Array(heap.bytes.slice(at, at + bytes).buffer);
    heap.bytes.set(before[index] ?? [], at);
    return found;
  });
}

function fuzz<T>(shapes: fc.Arbitrary<T>, place: (places: Places, shape: T) => Trial): void {
  const edges = fc.constantFrom<Edge>("begin", "end");
  const property = fc.property(shapes, edges, (shape, edge) => {
    using heap = new GuardedHeap(2 ** 23);
    const trial = place(new Places(heap, edge), shape);
    const { kernel, plain, values, plainValues, tolerance, compute } = trial;
    const scratch = heap.part(SCRATCH, "begin");
    const parameters = heap.part(256, "begin");
    const { exports } = heap;
    const module = compute?.(exports) ?? (exports[plain.name] as Kernel);
    const wanted = run(heap, trial, { ...values, ...plainValues }, plain, parameters, scratch, module);
    const found = NATIVE.map((code) => {
      const native = nativeKernels(mappedCode(code), heap.memory, scratch, exports)[
        FMA_KERNELS.indexOf(kernel.name)
      ] as Kernel;
      return run(heap, trial, values, kernel, parameters, scratch, native);
    });
    const most = wanted.reduce(
      (most, values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), most),
      1,
    );
    for (const one of found) {
      expect(one).toEqual(found[0] ?? []);
      one.forEach((values, at) =>
        values.forEach((value, index) => {
          if (!(Math.abs(value - (wanted[at]?.[index] ?? NaN)) <= tolerance * most))
            throw new Error(`${value} at ${index}`);
        }),
      );
    }
  });
  fc.assert(property, { numRuns: 60 });
}

test("products of any shape, order and format", () => fuzz(products, product));
test("ΔW of any shape, with every kind of basis", () => fuzz(deltas, delta));
test("gradients of λ and γ of any shape", () => fuzz(gradients, gradient));
test("products of normalized rows of any shape, gated or not", () => fuzz(normed, normedProduct));
