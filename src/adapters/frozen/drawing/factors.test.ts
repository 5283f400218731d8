import { describe, expect, test } from "bun:test";
import { drawFactorHeads, drawFactors, type FactorsSpec, savedFactors } from "./factors.ts";
import type { SavedProjection } from "./saved.ts";
import { finishSteps } from "./bases.ts";
import { type BasisMatrix, readElement } from "../../../compute/device/matrix-storage.ts";
import { roundToGrid } from "../../../compute/random/grid.ts";
import { f32ToBf16 } from "../../../files/safetensors/numbers.ts";

/** What PEFT 0.21.2's `_kaiming_init` draws on torch 2.13.0: the first elements, the last, and sums on each grid. */
const GOLDEN = [
  {
    spec: { generator: "torch-mt19937-f32", key: 0n, r: 6, maxIn: 20, maxOut: 33 },
    a: {
      head: [-0.0041007003746926785, 0.2938222587108612, -0.4508003890514374],
      last: 0.12990570068359375,
      f32: -1.799362679477781,
      bf16: -1.8096923828125,
      f16: -1.8005790710449219,
    },
    b: {
      head: [0.39242827892303467, 0.05990016460418701, -0.48792874813079834],
      last: 0.00986182689666748,
      f32: -11.728098392486572,
      bf16: -11.752548217773438,
      f16: -11.729325294494629,
    },
  },
  {
    spec: { generator: "torch-mt19937-f32", key: 2n ** 63n + 12345n, r: 256, maxIn: 40, maxOut: 24 },
    a: {
      head: [0.37313732504844666, 0.2940419614315033, 0.38121268153190613],
      last: -0.25213396549224854,
      f32: -39.10090185847366,
      bf16: -39.11698055267334,
      f16: -39.10138821601868,
    },
    b: {
      head: [-0.1432376354932785, -0.11022353917360306, -0.11787702143192291],
      last: -0.04212024062871933,
      f32: -7.927029407475857,
      bf16: -7.922404646873474,
      f16: -7.928002893924713,
    },
  },
  {
    spec: { generator: "torch-mt19937-f32", key: -3n, r: 5, maxIn: 300, maxOut: 64 },
    a: {
      head: [0.03531708940863609, 0.0021386155858635902, -0.13698703050613403],
      last: 0.021352369338274002,
      f32: -0.9686824397358578,
      bf16: -0.9751310348510742,
      f16: -0.96903228759765625,
    },
    b: {
      head: [-0.26285016536712646, -0.798124372959137, 0.832021176815033],
      last: 0.6658377051353455,
      f32: -28.52369092265144,
      bf16: -28.520240783691406,
      f16: -28.521098136901855,
    },
  },
] as const;

/** The elements of the matrix whose transpose is held, in its own order. */
function transposed({ rows, cols, ...held }: BasisMatrix): number[] {
  return Array.from({ length: rows * cols }, (_, at) =>
    readElement({ rows, cols, ...held }, at % rows, Math.floor(at / rows)),
  );
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

const draw = (spec: FactorsSpec, extent = { in: spec.maxIn, out: spec.maxOut }) =>
  finishSteps(drawFactors(spec, extent));

describe.each(GOLDEN)("key $spec.key, r $spec.r", ({ spec, a, b }) => {
  test.each(["f32", "bf16", "f16"] as const)("are PEFT's on the grid of %s", (grid) => {
    const drawn = draw({ ...spec, grid });
    expect(drawn).toMatchObject({ r: spec.r, extent: { rows: spec.maxIn, bases: 1, cols: spec.maxOut } });
    expect([drawn.a.storage.kind, drawn.b.storage.kind]).toEqual([grid, grid]);
    for (const [held, wanted] of [
      [transposed(drawn.b), a],
      [transposed(drawn.a), b],
    ] as const) {
      // Sums of numbers with 24 bits are exact in doubles here, but for the order: equal sums mean equal elements, or a conspiracy.
      expect(sum(held)).toBeCloseTo(wanted[grid], 11);
      if (grid !== "f32") continue;
      expect(held.slice(0, 3)).toEqual([...wanted.head]);
      expect(held.at(-1)).toBe(wanted.last);
    }
    const heads = drawFactorHeads({ ...spec, grid }, 100);
    expect([...heads.a]).toEqual(transposed(drawn.b).slice(0, 100));
    expect([...heads.b]).toEqual(transposed(drawn.a).slice(0, 100));
    const all = drawFactorHeads({ ...spec, grid }, 2 ** 20);
    expect([all.a.length, all.b.length]).toEqual([spec.r * spec.maxIn, spec.r * spec.maxOut]);
  });

  test("drawn in part are a part of the whole", () => {
    const whole = draw({ ...spec, grid: "f32" });
    const extent = { in: spec.maxIn - 7, out: spec.maxOut - 5 };
    const part = draw({ ...spec, grid: "f32" }, extent);
    expect(part.extent).toEqual({ rows: extent.in, bases: 1, cols: extent.out });
    for (const [some, all] of [
      [part.a, whole.a],
      [part.b, whole.b],
    ] as const) {
      for (let row = 0; row < some.rows; row++) {
        for (let col = 0; col < some.cols; col++) {
          if (readElement(some, row, col) !== readElement(all, row, col)) throw new Error(`element ${row}, ${col}`);
        }
      }
    }
  });
});

/** A matrix as a file holds it, read a few rows at a time. */
function saved(values: readonly number[], cols: number, dtype: "F32" | "BF16"): SavedProjection {
  const bytes =
    dtype === "F32"
      ? new Uint8Array(Float32Array.from(values).buffer)
      : new Uint8Array(Uint16Array.from(values, f32ToBf16).buffer);
  const rowBytes = bytes.length / (values.length / cols);
  const read = (row: number, count: number) => bytes.subarray(row * rowBytes, (row + count) * rowBytes);
  return { name: "factor", dtype, rows: values.length / cols, cols, read };
}

test.each(["f32", "bf16", "f16"] as const)(
  "philox-v1 draws elements of Kaiming's size on the grid of %s, and stores none",
  (grid) => {
    const spec = { generator: "philox-v1", key: 5n, r: 100, maxIn: 300, maxOut: 41, grid } as const;
    const drawn = draw(spec);
    expect([drawn.a.storage.kind, drawn.b.storage.kind]).toEqual(["philox", "philox"]);
    const [a, b] = [transposed(drawn.b), transposed(drawn.a)];
    for (const [values, fan] of [
      [a, 300],
      [b, 100],
    ] as const) {
      const size = Math.sqrt(sum(values.map((value) => value ** 2)) / values.length) / Math.sqrt(2 / fan);
      expect(Math.abs(Math.log2(size))).toBeLessThan(0.52);
      expect(values.every((value) => roundToGrid(value, grid) === value)).toBe(true);
    }
    // The order of drawing is that of what is held.
    const heads = drawFactorHeads(spec, 150);
    expect([...heads.a]).toEqual(
      Array.from({ length: 150 }, (_, at) => readElement(drawn.b, Math.floor(at / 100), at % 100)),
    );
    expect([...heads.b]).toEqual(
      Array.from({ length: 150 }, (_, at) => readElement(drawn.a, Math.floor(at / 41), at % 41)),
    );
    const part = draw(spec, { in: 7, out: 9 });
    expect([part.b.rows, part.a.cols]).toEqual([7, 9]);
    expect(readElement(part.a, 3, 8)).toBe(readElement(drawn.a, 3, 8));
  },
);

describe("factors out of a file", () => {
  test.each([
    ["f32", "F32"],
    ["bf16", "F32"],
    ["f16", "F32"],
    ["bf16", "BF16"],
  ] as const)("on the grid of %s, stored as %s, are held as drawn ones are", async (grid, dtype) => {
    const spec = { generator: "torch-mt19937-f32", key: 9n, r: 5, maxIn: 300, maxOut: 41, grid } as const;
    const drawn = draw(spec);
    const file = [saved(transposed(drawn.b), 300, dtype), saved(transposed(drawn.a), 5, dtype)] as const;
    expect(await savedFactors(...file, { in: 300, out: 41 })).toEqual(drawn);
    const part = { in: 33, out: 40 };
    expect(await savedFactors(...file, part)).toEqual(draw(spec, part));
  });

  test("are refused where they are no numbers", async () => {
    const [a, b] = [saved([1, 2, 3, 4], 2, "F32"), saved([1, NaN, 3, 4], 2, "F32")];
    await expect(savedFactors(a, b, { in: 2, out: 2 })).rejects.toThrow("NaN or infinity");
    await expect(savedFactors(a, a, { in: 2, out: 2 }, AbortSignal.abort(new Error("stopped")))).rejects.toThrow(
      "stopped",
    );
  });
});

test.each([
  ["maxIn", 2 ** 31],
  ["maxOut", 2 ** 31],
])("a recorded %s of %i is refused before anything is drawn or passed over", (side, size) => {
  const spec = { generator: "torch-mt19937-f32", key: 0n, r: 16, maxIn: 64, maxOut: 64, grid: "f32" } as const;
  const damaged = { ...spec, [side]: size };
  expect(() => drawFactorHeads(damaged, 100)).toThrow("more than any model needs");
  expect(() => draw(damaged, { in: 64, out: 64 })).toThrow("more than any model needs");
});
