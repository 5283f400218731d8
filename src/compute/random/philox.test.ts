import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { roundToGrid } from "./grid.ts";
import type { FloatGrid, Sparsity } from "./names.ts";
import { philox4x32, philoxElement, philoxFill, philoxStream } from "./philox.ts";

type Counter = readonly [number, number, number, number];

function block(counter: Counter, key: readonly [number, number]): number[] {
  const out = new Uint32Array(4);
  philox4x32(out, counter, key);
  return Array.from(out);
}

/** Philox4x32-10 in big integers, straight from the paper. */
function philoxBig(counter: Counter, key: readonly [number, number]): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

const word = fc.integer({ min: 0, max: 0xffffffff });

describe("philox4x32", () => {
  test("gives Random123's known answers", () => {
    expect(block([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(block([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(block([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  test("multiplies as big integers do", () => {
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        expect(block(counter, key)).toEqual(philoxBig(counter, key));
      }),
      { numRuns: 200 },
    );
  });
});

/** An element of philox-v1 by its definition, in doubles, rounded to f32 at the end. */
function defined(seed: bigint, stream: 0 | 1, sparsity: Sparsity, min: number, index: number): number {
  const bits = BigInt.asUintN(64, seed);
  const perBlock = sparsity === "very-sparse" ? 8 : 16;
  const number = BigInt(Math.floor(index / perBlock));
  const counter = [Number(number & 0xffffffffn), Number(number >> 32n), stream, 0] as const;
  const bytes = new DataView(new ArrayBuffer(16));
  philoxBig(counter, [Number(bits & 0xffffffffn), Number(bits >> 32n)]).forEach((value, i) =>
    bytes.setUint32(i * 4, value, true),
  );
  const lane = index % perBlock;
  if (sparsity === "very-sparse") {
    const u = bytes.getUint16(lane * 2, true);
    const t = Math.round(32768 / Math.sqrt(min));
    return Math.fround((u < t ? -1 : u >= 65536 - t ? 1 : 0) * Math.sqrt(32768 / t));
  }
  const b = bytes.getUint8(lane);
  if (sparsity === "sparse") return Math.fround((b < 43 ? -1 : b > 212 ? 1 : 0) * Math.sqrt(128 / 43));
  return Math.fround(((2 * b - 255) / 255) * Math.sqrt(765 / 257));
}

const sparsities: readonly Sparsity[] = ["dense", "sparse", "very-sparse"];

describe.each(sparsities)("philox-v1, %s", (sparsity) => {
  test("is its definition, element by element and in bulk", () => {
    const cases = fc.record({
      seed: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      stream: fc.constantFrom(0 as const, 1 as const),
      min: fc.integer({ min: 1, max: 20000 }),
      index: fc.oneof(fc.nat(2000), fc.integer({ min: 2 ** 36 - 8, max: 2 ** 36 + 8 })),
      length: fc.nat(70),
    });
    fc.assert(
      fc.property(cases, ({ seed, stream, min, index, length }) => {
        const source = philoxStream(seed, stream, sparsity, min);
        const filled = new Float32Array(length);
        philoxFill(source, index, filled);
        const expected = Array.from(filled, (_, i) => defined(seed, stream, sparsity, min, index + i) + 0);
        expect(Array.from(filled, (value) => value + 0)).toEqual(expected);
        expect(philoxElement(source, index) + 0).toBe(defined(seed, stream, sparsity, min, index) + 0);
      }),
      { numRuns: 100 },
    );
  });

  test("has mean 0 and standard deviation 1", () => {
    const values = new Float32Array(200_000);
    philoxFill(philoxStream(7n, 1, sparsity, 900), 0, values);
    const mean = values.reduce((total, value) => total + value, 0) / values.length;
    const variance = values.reduce((total, value) => total + value * value, 0) / values.length;
    // Five standard errors: 5/√N for the mean, 5·√((kurtosis − 1)/N) for the variance; the kurtosis is 1/density.
    const kurtosis = { dense: 1.8, sparse: 128 / 43, "very-sparse": 30 }[sparsity];
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(values.length));
    expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt((kurtosis - 1) / values.length));
  });
});

const grids: readonly FloatGrid[] = ["f32", "bf16", "f16"];

test.each(grids)("every byte gives the f32 nearest to its dense element, on the grid: %s", (grid) => {
  const seen = new Set<number>();
  const values = new Float32Array(20_000);
  philoxFill(philoxStream(1n, 0, "dense", 1, grid), 0, values);
  for (const value of values) seen.add(value);
  const expected = new Set<number>();
  for (let b = 0; b < 256; b++) expected.add(roundToGrid(((2 * b - 255) / 255) * Math.sqrt(765 / 257), grid));
  expect([...seen].toSorted((x, y) => x - y)).toEqual([...expected].toSorted((x, y) => x - y));
});

test.each(grids)("elements on a grid are those of f32, rounded: %s", (grid) => {
  for (const sparsity of sparsities) {
    const [plain, rounded] = [new Float32Array(1000), new Float32Array(1000)];
    philoxFill(philoxStream(5n, 1, sparsity, 300), 7, plain);
    const stream = philoxStream(5n, 1, sparsity, 300, grid);
    philoxFill(stream, 7, rounded);
    expect(rounded).toEqual(plain.map((value) => roundToGrid(value, grid)));
    expect(philoxElement(stream, 500)).toBe(rounded[493] ?? NaN);
  }
});
