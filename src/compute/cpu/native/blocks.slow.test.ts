import { expect, test } from "bun:test";
import { Caller } from "./caller.ts";
import { type NativeName } from "./choose.ts";
import { CODES, codeOf, everyWay } from "./testing/codes.ts";
import { multiply, type Product } from "./kernels/product.ts";
import { BLOCK } from "../../device/blocks.ts";
import { ROUNDED_DTYPES } from "../../device/dtype.ts";
import { BLOCK_BYTES, type Blocks } from "./machine.ts";
import { type Edge, GuardedHeap } from "./testing/guarded.ts";
import { digest, noise } from "./testing/numbers.ts";

const SCRATCH = 2 ** 19;

interface Shape {
  readonly order: "NT" | "NN";
  readonly stored: Blocks;
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
}

/** Around the sizes of tiles, panels and blocks of terms; more terms than are rounded at once. */
const SHAPES: readonly Shape[] = ROUNDED_DTYPES.flatMap((stored) =>
  [1, 2, 3, 7, 113].flatMap((rows) => [
    ...[1, 16, 33, 67].flatMap((cols) =>
      [32, 288, ...(rows === 2 ? [4128] : [])].map((terms) => ({ order: "NT" as const, stored, rows, cols, terms })),
    ),
    ...[32, 96].flatMap((cols) => [1, 7, 257].map((terms) => ({ order: "NN" as const, stored, rows, cols, terms }))),
  ]),
);

/** A product in a few digits, and that of its first row. */
function run(code: NativeName | "wasm", shape: Shape, edge: Edge, isCompared: boolean) {
  const { order, stored, rows, cols, terms } = shape;
  using heap = new GuardedHeap(2 ** 25);
  const scratch = heap.part(SCRATCH, "begin");
  const bTerms = order === "NN";
  const xWidth = Math.ceil(terms / 4) * 4;
  const x = heap.part(rows * xWidth * 4, edge);
  for (let at = 0; at < rows * xWidth; at++) heap.floats[x / 4 + at] = at % xWidth < terms ? noise(at, 1.7) : NaN;
  const [bRows, blocks] = bTerms ? [terms, cols / BLOCK] : [cols, terms / BLOCK];
  const bPitch = blocks * BLOCK_BYTES[stored];
  const b = heap.part(bRows * bPitch, edge);
  for (let at = 0; at < bRows * bPitch; at++) heap.bytes[b + at] = (at * 167) ^ (at >> 5);
  const scales = heap.part(bRows * blocks * 2, edge);
  for (let at = 0; at < bRows * blocks; at++) heap.halves[scales / 2 + at] = 0x1c00 + (at % 1024);
  const value = (row: number, col: number): number => {
    const block = Math.floor(col / BLOCK);
    const d = (1 + (((row * blocks + block) % 1024) & 1023) / 1024) / 256;
    if (stored === "Q8_0") return d * (new Int8Array(heap.bytes.buffer)[b + row * bPitch + col] ?? NaN);
    const byte = heap.bytes[b + row * bPitch + block * 16 + (col % 16)] ?? NaN;
    return d * ((col % BLOCK < 16 ? byte & 15 : byte >> 4) - 8);
  };
  const width = Math.ceil(cols / 4) * 4;
  const y = heap.part(rows * width * 4, edge);
  const product: Product = {
    rows,
    cols,
    terms,
    aTerms: false,
    bTerms,
    a: x,
    aPitch: xWidth * 4,
    stored,
    b,
    bPitch,
    scales,
    scalesPitch: blocks * 2,
    y,
    yPitch: width * 4,
    bias: 0,
    residual: 0,
    residualPitch: 0,
    accumulate: false,
    scale: 0x3f800000,
  };
  multiply(new Caller(codeOf(code), heap, scratch, heap.parts), product, 0, rows, 0, cols);
  const found = heap.floats.slice(y / 4, y / 4 + rows * width);
  const digests = { all: digest(found), first: digest(found.subarray(0, width)) };
  if (!isCompared) return digests;
  let worst = 0;
  // Of many rows some.
  for (let row = 0; row < rows; row += rows > 20 ? 25 : 1) {
    for (let col = 0; col < width; col++) {
      let [sum, size] = [0, 1];
      for (let term = 0; term < (col < cols ? terms : 0); term++) {
        const one = (heap.floats[x / 4 + row * xWidth + term] ?? NaN) * (bTerms ? value(term, col) : value(col, term));
        sum += one;
        size += Math.abs(one);
      }
      const error = Math.abs((found[row * width + col] ?? NaN) - sum) / size;
      if (!(error <= worst)) worst = error;
    }
  }
  if (!(worst < 1e-4)) throw new Error(`${JSON.stringify(shape)}: ${worst}`);
  return digests;
}

test("products with blocks are right to 15 bits of x, to the same bits by every code, and nothing is read beyond operands", () => {
  let all = 0n;
  for (const shape of SHAPES) {
    const product = everyWay(shape, (...way) => run(...way).all);
    all = (all * 31n + product) % 2n ** 64n;
  }
  // AVX2, AVX-512 and, in an emulator, NEON.
  if (CODES.length > 0) expect(all).toBe(228433418202164953n);
});

test("WebAssembly's are, to bits of its own on every processor", () => {
  let all = 0n;
  for (const shape of SHAPES) all = (all * 31n + run("wasm", shape, "end", true).all) % 2n ** 64n;
  expect(all).toBe(15449808183759537617n);
});

test.each(["wasm", ...CODES] as const)("a row is the same whatever is computed beside it: %s", (code) => {
  for (const shape of SHAPES) {
    if (shape.rows === 1) continue;
    expect(run(code, shape, "end", false).first).toBe(run(code, { ...shape, rows: 1 }, "end", false).all);
  }
});
