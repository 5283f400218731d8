import { expect, test } from "bun:test";
import { Caller } from "./caller.ts";
import { type NativeName } from "./choose.ts";
import { CODES, codeOf, everyWay } from "./testing/codes.ts";
import { multiply, type Product } from "./kernels/product.ts";
import { STORED_BYTES, type Stored } from "./machine.ts";
import { type Edge, GuardedHeap } from "./testing/guarded.ts";
import { decoded, digest, encoded, noise } from "./testing/numbers.ts";

const SCRATCH = 2 ** 19;
const ONE = 0x3f800000;

interface Shape {
  readonly order: "NT" | "NN" | "TN";
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  readonly stored: Stored;
  readonly extras: boolean;
}

/** What a product gives, in a few digits. Operands are exactly as large as rows of whole 16 bytes. */
function run(code: NativeName | "wasm", shape: Shape, edge: Edge, isCompared: boolean): bigint {
  const { order, rows, cols, terms, stored, extras } = shape;
  using heap = new GuardedHeap(2 ** 25);
  const scratch = heap.part(SCRATCH, "begin");
  const [aTerms, bTerms] = [order[0] === "T", order[1] === "N"];
  const pitchOf = (count: number, size: number) => Math.ceil((count * size) / 16) * 16;
  let turn = 0.5;
  const matrix = (rows: number, cols: number, format: Stored) => {
    const pitch = pitchOf(cols, STORED_BYTES[format]);
    const at = heap.part(rows * pitch, edge);
    turn += 1.3;
    // Padding is no number: whoever takes it into a sum is found.
    const values = encoded(format, rows * (pitch / STORED_BYTES[format]), (index) =>
      index % (pitch / STORED_BYTES[format]) < cols ? noise(index, turn) : NaN,
    );
    heap.bytes.set(values, at);
    const numbers = decoded(format, values);
    return {
      at,
      pitch,
      value: (row: number, col: number) => numbers[row * (pitch / STORED_BYTES[format]) + col] ?? NaN,
    };
  };
  const a = aTerms ? matrix(terms, rows, "F32") : matrix(rows, terms, "F32");
  const b = bTerms ? matrix(terms, cols, stored) : matrix(cols, terms, stored);
  const zero = (at: number, rows: number, pitch: number) => {
    for (let row = 0; row < rows; row++)
      heap.floats.fill(0, (at + row * pitch) / 4 + cols, (at + (row + 1) * pitch) / 4);
  };
  const [bias, residual, y] = [matrix(1, cols, "F32"), matrix(rows, cols, "F32"), matrix(rows, cols, "F32")];
  for (const [part, count] of [
    [bias, 1],
    [residual, rows],
    [y, rows],
  ] as const)
    zero(part.at, count, part.pitch);
  const before = Array.from({ length: rows * cols }, (_, at) => y.value(Math.floor(at / cols), at % cols));
  const product: Product = {
    rows,
    cols,
    terms,
    aTerms,
    bTerms,
    stored,
    a: a.at,
    aPitch: a.pitch,
    b: b.at,
    bPitch: b.pitch,
    scales: 0,
    scalesPitch: 0,
    y: y.at,
    yPitch: y.pitch,
    bias: extras ? bias.at : 0,
    residual: extras ? residual.at : 0,
    residualPitch: residual.pitch,
    accumulate: extras,
    scale: extras ? 0x3f000000 : ONE,
  };
  const on = new Caller(codeOf(code), heap, scratch, heap.parts);
  multiply(on, product, 0, rows, 0, cols);
  const numbers = y.pitch / 4;
  for (let row = 0; row < rows; row++) {
    for (let col = cols; col < numbers; col++) expect(heap.floats[y.at / 4 + row * numbers + col]).toBe(0);
  }
  const found = Float32Array.from(
    { length: rows * cols },
    (_, at) => heap.floats[y.at / 4 + Math.floor(at / cols) * numbers + (at % cols)] ?? NaN,
  );
  if (!isCompared) return digest(found);
  let most = 0;
  const wanted = Float64Array.from({ length: rows * cols }, (_, at) => {
    const [row, col] = [Math.floor(at / cols), at % cols];
    let sum = 0;
    for (let term = 0; term < terms; term++) {
      sum += (aTerms ? a.value(term, row) : a.value(row, term)) * (bTerms ? b.value(term, col) : b.value(col, term));
    }
    const value = extras ? sum / 2 + bias.value(0, col) + residual.value(row, col) + (before[at] ?? 0) : sum;
    most = Math.max(most, Math.abs(value));
    return value;
  });
  found.forEach((value, at) => {
    const error = Math.abs(value - (wanted[at] ?? NaN));
    if (!(error <= 2e-6 * Math.max(1, most))) throw new Error(`${JSON.stringify(shape)}: ${error} of ${most}`);
  });
  return digest(found);
}

/** Sizes around those of tiles, panels, squares and blocks of terms. */
const SIZES = {
  rows: [1, 2, 4, 5, 14, 15, 29, 226],
  cols: [1, 3, 8, 16, 31, 33, 70],
  terms: [1, 7, 16, 33, 256, 259],
} as const;

function* shapes(): Generator<Shape> {
  let turn = 0;
  for (const order of ["NT", "NN", "TN"] as const) {
    for (const rows of SIZES.rows) {
      for (const cols of SIZES.cols) {
        for (const terms of SIZES.terms) {
          turn++;
          // Of the large ones some; turns go through formats and extras in all combinations.
          if (turn % 5 > (rows > 200 ? 0 : 2)) continue;
          const stored = (["F32", "F16", "BF16"] as const)[turn % 3] ?? "F32";
          yield { order, rows, cols, terms, stored, extras: turn % 2 === 0 };
        }
      }
    }
  }
}

test("products are right, to the same bits by every code, read nothing beyond operands, and pad rows with zeros", () => {
  let all = 0n;
  for (const shape of shapes()) all = (all * 31n + everyWay(shape, run)) % 2n ** 64n;
  // AVX2, AVX-512 and, in an emulator, NEON.
  if (CODES.length > 0) expect(all).toBe(8339817462577163052n);
});

test("WebAssembly's are, to bits of its own on every processor", () => {
  let all = 0n;
  for (const shape of shapes()) {
    const found = (["end", "begin"] as const).map((edge) => run("wasm", shape, edge, edge === "end"));
    expect(found[1]).toBe(found[0] ?? -1n);
    all = (all * 31n + (found[0] ?? 0n)) % 2n ** 64n;
  }
  expect(all).toBe(441525508308992199n);
});

test("rows of more terms than scratch holds of them at once", () => {
  for (const [rows, cols, terms] of [
    [1, 5, 45_400],
    [14, 5, 3400],
    // Two calls, of whole blocks of columns and of the rest.
    [14, 131, 3400],
    [56, 5, 3400],
  ] as const) {
    for (const stored of ["F32", "BF16"] as const)
      everyWay({ order: "NT", rows, cols, terms, stored, extras: true }, run);
  }
});
