import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { roundToGrid, toHalfBits } from "../../../compute/random/grid.ts";
import { fromProjections, type SavedProjection } from "./saved.ts";
import { readElement } from "../../../compute/device/matrix-storage.ts";

type Dtype = SavedProjection["dtype"];

/** A projection in memory whose reader hands out one reused buffer, as a file reader does. */
function saved(name: string, dtype: Dtype, rows: number, cols: number, values: readonly number[]): SavedProjection {
  const width = dtype === "F32" ? 4 : 2;
  const bytes = new DataView(new ArrayBuffer(rows * cols * width));
  values.forEach((value, i) => {
    if (dtype === "F32") bytes.setFloat32(i * 4, value, true);
    else bytes.setUint16(i * 2, toHalfBits(value, dtype === "F16" ? "f16" : "bf16"), true);
  });
  const buffer = new Uint8Array(1 + rows * cols * width);
  return {
    name,
    dtype,
    rows,
    cols,
    read: async (row, count) => {
      const part = new Uint8Array(bytes.buffer, row * cols * width, count * cols * width);
      buffer.set(part, 1);
      return buffer.subarray(1, 1 + part.length);
    },
  };
}

/** Numbers that fit each storage and none smaller. */
const families: Readonly<Record<string, (i: number) => number>> = {
  ternary: (i) => Math.fround(1.7314173) * ([0, 1, -1][i % 3] ?? 0),
  bf16: (i) => roundToGrid(Math.sin(i) * 1e-6, "bf16"),
  f16: (i) => roundToGrid(Math.sin(i) * 2 ** -(i % 24), "f16"),
  f32: (i) => Math.fround(Math.sin(i)),
};

const R = 3;
const MIN = 7;
const MAX = 20;
const COLS_B = 9;

function pair(family: string, dtype: Dtype): [SavedProjection, SavedProjection] {
  const value = families[family] ?? Math.sin;
  const list = (length: number, from: number): number[] => Array.from({ length }, (_, i) => value(from + i));
  return [
    saved("randlora_A", dtype, R, MIN, list(R * MIN, 1)),
    saved("randlora_B", dtype, MAX, COLS_B, list(MAX * COLS_B, 500)),
  ];
}

describe("saved projections", () => {
  test.each([
    ["ternary", "F32", "ternary"],
    ["bf16", "F32", "bf16"],
    ["f16", "F32", "f16"],
    ["f32", "F32", "f32"],
    ["bf16", "BF16", "bf16"],
    ["f16", "F16", "f16"],
  ] as const)("%s values in %s are held as %s, unchanged", async (family, dtype, kind) => {
    const [a, b] = pair(family, dtype);
    const value = families[family] ?? Math.sin;
    await fc.assert(
      fc.asyncProperty(fc.nat(MAX), fc.nat(3), fc.nat(MIN), async (rows, bases, cols) => {
        const packed = await fromProjections(a, b, R, { rows, bases, cols });
        for (let k = 0; k < R; k++) {
          for (let c = 0; c < cols; c++) expect(readElement(packed.a, k, c)).toBe(value(1 + k * MIN + c));
        }
        for (let o = 0; o < rows; o++) {
          for (let q = 0; q < bases * R; q++) expect(readElement(packed.b, o, q)).toBe(value(500 + o * COLS_B + q));
        }
        expect(packed.a.storage.kind).toBe(packed.b.storage.kind);
      }),
      { numRuns: 15 },
    );
    const whole = await fromProjections(a, b, R, { rows: MAX, bases: 3, cols: MIN });
    expect(whole.b.storage.kind).toBe(kind);
    expect([whole.stdA, whole.stdB]).toEqual([null, null]);
  });

  test("a pair shares the storage that holds both", async () => {
    const [ternary] = pair("ternary", "F32");
    const [, bf16] = pair("bf16", "F32");
    const [, f16] = pair("f16", "F32");
    const [wide] = pair("f32", "F32");
    const extent = { rows: MAX, bases: 3, cols: MIN };
    expect((await fromProjections(ternary, f16, R, extent)).a.storage.kind).toBe("f32");
    expect((await fromProjections(wide, bf16, R, extent)).b.storage.kind).toBe("f32");
  });

  test("values outside f16's range or below its unit are not squeezed into it", async () => {
    const extent = { rows: 1, bases: 1, cols: 1 };
    for (const [value, kind] of [
      [65504, "f16"],
      [65536 + 64, "f32"],
      [2 ** -24 * 513, "f16"],
      [2 ** -25 * 513, "f32"],
    ] as const) {
      const b = saved("b", "F32", 2, 3, [value, 1 + 2 ** -10, 1, 1, 1, 1]);
      const a = saved("a", "F32", 3, 1, [1, 2, 3]);
      expect((await fromProjections(a, b, R, { ...extent, rows: 2 })).b.storage.kind).toBe(kind);
    }
  });

  test("are refused when they are not finite or do not fit", async () => {
    const [a, b] = pair("f32", "F32");
    const all = { rows: MAX, bases: 3, cols: MIN };
    const broken = saved("randlora_B", "F32", MAX, COLS_B, [...Array<number>(100).fill(1), Number.NaN]);
    await expect(fromProjections(a, broken, R, all)).rejects.toThrow("randlora_B holds NaN or infinity");
    await expect(fromProjections(a, b, 4, all)).rejects.toThrow("no pair of bases with r = 4");
    await expect(fromProjections(a, b, R, { ...all, rows: MAX + 1 })).rejects.toThrow("exceeds the random bases");
    const short: SavedProjection = { ...b, read: () => new Uint8Array(5) };
    await expect(fromProjections(a, short, R, all)).rejects.toThrow("randlora_B: 5 bytes");
  });
});
