import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import { place, take } from "../tensor/cases/placed.ts";
import { CpuDevice } from "./cpu.ts";
import { evenColumns, pieceColumns } from "./pieces.ts";

describe("columns of a piece of a product with few rows", () => {
  test("are whole tiles, no more than may be, and as many pieces as threads where there are enough", () => {
    const sizes = fc.record({ cols: fc.integer({ min: 1, max: 5000 }), threads: fc.integer({ min: 1, max: 128 }) });
    fc.assert(
      fc.property(sizes, ({ cols, threads }) => {
        const each = pieceColumns(cols, 96, threads, 12);
        expect(each % 12).toBe(0);
        expect(each).toBeWithin(24, 97);
        if (each === 24) return;
        // In as few rounds as the largest pieces need, nobody has more to do than by even shares, but for a tile.
        const rounds = Math.ceil(Math.ceil(cols / each) / threads);
        expect(rounds).toBe(Math.ceil(cols / 96 / threads));
        expect(each).toBeLessThan(cols / (rounds * threads) + 12);
      }),
    );
  });

  test("of a layer of 576 columns: two cores have what they had, sixteen have a piece each", () => {
    expect([1, 2, 6, 16, 64].map((threads) => Math.ceil(576 / pieceColumns(576, 96, threads, 12)))).toEqual([
      6, 6, 6, 16, 24,
    ]);
  });
});

test("pieces of many rows are whole tiles, and such that threads end together", () => {
  const whole = fc.integer({ min: 1, max: 3000 });
  fc.assert(
    fc.property(whole, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 40 }), (cols, down, threads) => {
      const each = evenColumns(cols, 384, 32, down, threads);
      expect(each % 32).toBe(0);
      expect(each).toBeWithin(32, 385);
    }),
  );
  // 576 and 960 columns on two cores: halves, and three of 160 for each.
  expect([576, 960, 3072].map((cols) => evenColumns(cols, 384, 32, 1, 2))).toEqual([288, 160, 384]);
});

test("a product of few rows has the same bits on 1, 5 and 20 threads", async () => {
  const [terms, cols] = [288, 296];
  const numbers = (count: number, turn: number) => Float64Array.from({ length: count }, (_, at) => Math.sin(at * turn));
  const results = [];
  for (const threads of [1, 5, 20]) {
    using device = await CpuDevice.open({ threads });
    const found = [];
    for (const dtype of ["F32", "BF16", "Q8_0"] as const) {
      const weight = place(device, { matrix: { shape: [cols, terms], data: numbers(cols * terms, 78.233) }, dtype });
      for (const rows of [1, 3, 40]) {
        using run = new Run(device);
        const x = run.upload("x", [rows, terms], Float32Array.from(numbers(rows * terms, 12.9898)));
        const norm = run.upload("norm", [1, terms], new Float32Array(terms).fill(1));
        const none = { bias: undefined, residual: undefined, branch: undefined, branchNorm: undefined };
        const plain = run.keep(run.apply(OPS.linear, { x, weight, ...none }, {}).y);
        const attributes = { epsilon: 1e-6, offset: 0, gate: "silu" } as const;
        const gated = run.keep(run.apply(OPS.normedLinear, { x, norm, weight, ...none }, attributes).y);
        await run.submit();
        for (const y of [plain, gated]) {
          found.push((await take(device, y)).values);
          device.memory.release(y.buffer);
        }
      }
    }
    results.push(found);
  }
  expect(results[0]?.every((values) => values.some((value) => value !== 0))).toBe(true);
  for (const other of results.slice(1)) expect(other).toEqual(results[0] ?? []);
});
