import { expect, test } from "bun:test";
import { BASIS } from "../families/basis.ts";
import { DELTA } from "../families/delta.ts";
import { Caller } from "./caller.ts";
import { type NativeName } from "./choose.ts";
import { CODES, everyWay, mappedCode } from "./testing/codes.ts";
import { delta } from "./kernels/delta.ts";
import { DTYPE_CODES, NUMBER_DTYPES } from "../../device/dtype.ts";
import { STORED_BYTES, type Stored } from "./machine.ts";
import { wordsOf } from "../parameters.ts";
import { type Edge, GuardedHeap } from "./testing/guarded.ts";
import { decoded, digest, encoded, noise } from "./testing/numbers.ts";

const SCRATCH = 2 ** 19;
const AT = wordsOf(DELTA);

interface Shape {
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  readonly fastCount: number;
  readonly stored: Stored;
  readonly transposed: boolean;
  readonly accumulate: boolean;
}

const SHAPES: readonly Shape[] = [1, 3, 28, 31, 113].flatMap((rows, one) =>
  [1, 5, 32, 67].flatMap((cols, two) =>
    [1, 30, 300].map((terms, three) => ({
      rows,
      cols,
      terms,
      fastCount: [7, 32, 300][(one + three) % 3] ?? 7,
      stored: NUMBER_DTYPES[(one + two + three) % 3] ?? "F32",
      transposed: (one + two) % 2 === 0,
      accumulate: (two + three) % 2 === 0,
    })),
  ),
);

/** ΔW and its padding, in a few digits. */
function run(code: NativeName, shape: Shape, edge: Edge, isCompared: boolean): bigint {
  const { rows, cols, terms, fastCount, stored, transposed, accumulate } = shape;
  using heap = new GuardedHeap(2 ** 24);
  const scratch = heap.part(SCRATCH, "begin");
  let turn = 0.5;
  /** As a device has it: rows of whole 16 bytes. A and γ may be wider than the module, so what pads rows is no zero. */
  const matrix = (rows: number, cols: number, format: Stored) => {
    const width = Math.ceil((cols * STORED_BYTES[format]) / 16) * (16 / STORED_BYTES[format]);
    const at = heap.part(rows * width * STORED_BYTES[format], edge);
    turn += 1.3;
    const values = encoded(format, rows * width, (index) => (index % width < cols ? noise(index, turn) : NaN));
    heap.bytes.set(values, at);
    const numbers = decoded(format, values);
    return {
      at,
      pitch: width * STORED_BYTES[format],
      value: (row: number, col: number) => numbers[row * width + col] ?? NaN,
    };
  };
  const basis = matrix(rows, terms, stored);
  const lambda = matrix(1, terms, "F32");
  const [fast, slow] = [matrix(fastCount, cols, "F32"), matrix(Math.ceil(terms / fastCount), cols, "F32")];
  const [targetRows, targetCols] = transposed ? [cols, rows] : [rows, cols];
  const target = matrix(targetRows, targetCols, "F32");
  const parameters = heap.part(AT.count * 4, "end");
  const values = {
    storage: DTYPE_CODES[stored],
    at: basis.at,
    rowBytes: basis.pitch,
    fastCount,
    lambda: lambda.at,
    fast: fast.at,
    fastPitch: fast.pitch,
    slow: slow.at,
    slowPitch: slow.pitch,
    rows,
    cols,
    target: target.at,
    targetPitch: target.pitch,
    transposed: Number(transposed),
    accumulate: Number(accumulate),
    // 1/2.
    scale: 0x3f000000,
    terms,
    pieceRows: 112,
    pieceCols: 64,
    pieces: Math.ceil(cols / 64),
  };
  for (const [name, value] of Object.entries(values))
    heap.words()[parameters / 4 + AT[name as keyof typeof values]] = value;
  const on = new Caller(mappedCode(code), heap, scratch, heap.parts);
  for (let piece = 0; piece < values.pieces * Math.ceil(rows / 112); piece++) delta(on, parameters, piece);
  const found = (row: number, col: number): number => heap.floats[(target.at + row * target.pitch) / 4 + col] ?? NaN;
  let worst = 0;
  const all: number[] = [];
  for (let row = 0; row < targetRows; row++) {
    for (let col = 0; col < target.pitch / 4; col++) {
      all.push(found(row, col));
      // What pads a row of the target becomes zero, or stays what it was where that is added to.
      if (col >= targetCols) {
        if (!accumulate) expect(found(row, col)).toBe(0);
        continue;
      }
      if (!isCompared) continue;
      const [r, c] = transposed ? [col, row] : [row, col];
      let sum = 0;
      for (let q = 0; q < terms; q++) {
        sum +=
          basis.value(r, q) *
          lambda.value(0, q) *
          slow.value(Math.floor(q / fastCount), c) *
          fast.value(q % fastCount, c);
      }
      const error = Math.abs(sum / 2 + (accumulate ? target.value(row, col) : 0) - found(row, col));
      if (!(error <= worst)) worst = error;
    }
  }
  if (!(worst < 1e-4)) throw new Error(`${JSON.stringify(shape)}: ${worst}`);
  return digest(all);
}

test("ΔW is right, to the same bits by every code, and nothing is read beyond operands", () => {
  let sums = 0n;
  for (const shape of SHAPES) sums = (sums * 31n + everyWay(shape, run)) % 2n ** 64n;
  // AVX2, AVX-512 and, in an emulator, NEON.
  if (CODES.length > 0) expect(sums).toBe(13306249044014273741n);
});

test("the words of a basis are the first of ΔW's", () => {
  expect(Object.keys(DELTA.members).slice(0, Object.keys(BASIS).length)).toEqual(Object.keys(BASIS));
});
