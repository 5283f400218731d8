import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { readElement } from "../../../compute/device/matrix-storage.ts";
import { itemAt } from "../../../files/item-at.ts";
import { type Bases, drawBases } from "../../frozen/drawing/draw.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { MemoryStdCache } from "../../testing/drawn-bases.ts";
import { type DeltaLayer, deltaReference } from "./delta.ts";

/** What fixtures/draws/make.py writes. */
const DRAWS = join(import.meta.dir, "../../../../fixtures/draws");

interface DeltaRecord {
  r: number;
  in_features: number;
  out_features: number;
  bases_min: number;
  bases_max: number;
  scaling: number;
  delta_row0: number[];
  delta_sum: number;
  delta_fro: number;
}

/** λ[k, n] = sin(k + 1 + 0.1n) and γ[n, j] = cos(0.01j + n)/min, as the records say, in f32. */
function layerOf(out: number, input: number, r: number, scale: number): DeltaLayer {
  const m = Math.min(out, input);
  const n = Math.ceil(m / r);
  const lambda = Float32Array.from({ length: r * n }, (_, i) => Math.sin(Math.floor(i / n) + 1 + 0.1 * (i % n)));
  const gamma = Float32Array.from({ length: n * m }, (_, i) => Math.cos(0.01 * (i % m) + Math.floor(i / m)) / m);
  return { shape: randloraShape(out, input, r), lambda, gamma, scale, pairing: "peft" };
}

function basesOf(record: DeltaRecord, generator: "torch-mt19937-bf16-v1" | "torch-mt19937-bf16-v2"): Bases {
  const { r, bases_max: max, bases_min: min } = record;
  const m = Math.min(record.in_features, record.out_features);
  return drawBases(
    { generator, key: 0n, r, max, min, sparsity: "dense", grid: "f32" },
    { rows: Math.max(record.in_features, record.out_features), bases: Math.ceil(m / r), cols: m },
    new MemoryStdCache(),
  );
}

describe.each([
  ["2.6.0", "torch-mt19937-bf16-v1"],
  ["2.13.0", "torch-mt19937-bf16-v2"],
] as const)("ΔW of PEFT on torch %s", async (torch, generator) => {
  const { delta: records }: { delta: DeltaRecord[] } = await Bun.file(join(DRAWS, `torch-${torch}.json`)).json();
  test.each(records)("$out_features × $in_features, r $r, drawn at $bases_max × $bases_min", (record) => {
    const layer = layerOf(record.out_features, record.in_features, record.r, record.scaling);
    const delta = deltaReference(basesOf(record, generator), layer);
    expect(delta.length).toBe(record.out_features * record.in_features);
    // PEFT sums in f32: agreement to a few of its units in the last place, relative to the largest terms.
    const tolerance = 1e-6 * record.delta_fro;
    record.delta_row0.forEach((value, i) => expect(Math.abs(itemAt(delta, i) - value)).toBeLessThan(tolerance));
    const sum = delta.reduce((total, value) => total + value, 0);
    expect(Math.abs(sum - record.delta_sum)).toBeLessThan(20 * tolerance);
    expect(Math.abs(Math.hypot(...delta) - record.delta_fro)).toBeLessThan(tolerance);
  });
});

describe("deltaReference", () => {
  const bases = drawBases(
    { generator: "philox-v1", key: 3n, r: 3, max: 11, min: 7, sparsity: "dense", grid: "f32" },
    { rows: 11, bases: 3, cols: 7 },
    new MemoryStdCache(),
  );

  test("of the paper's pairing is equation 4, Σ_j B_j Λ_j A Γ_j", () => {
    const layer: DeltaLayer = { ...layerOf(11, 7, 3, 2), pairing: "paper" };
    const delta = deltaReference(bases, layer);
    for (let o = 0; o < 11; o++) {
      for (let c = 0; c < 7; c++) {
        let sum = 0;
        for (let j = 0; j < 3; j++) {
          for (let k = 0; k < 3; k++) {
            const left = readElement(bases.b, o, j * 3 + k) * itemAt(layer.lambda, k * 3 + j);
            sum += left * readElement(bases.a, k, c) * itemAt(layer.gamma, j * 7 + c);
          }
        }
        expect(delta[o * 7 + c]).toBeCloseTo(2 * sum, 12);
      }
    }
    expect(deltaReference(bases, { ...layer, pairing: "peft" })[0]).not.toBeCloseTo(itemAt(delta, 0), 3);
  });

  test("of a wide layer is the transpose of the tall one's", () => {
    const tall = deltaReference(bases, layerOf(11, 7, 3, 2));
    const wide = deltaReference(bases, layerOf(7, 11, 3, 2));
    tall.forEach((value, i) => expect(wide[(i % 7) * 11 + Math.floor(i / 7)]).toBe(value));
  });

  test("of a sample is a part of the whole", () => {
    const layer = layerOf(7, 11, 3, 2);
    const whole = deltaReference(bases, layer);
    const part = deltaReference(bases, layer, { rows: [5, 0], cols: [10, 2, 3] });
    expect(Array.from(part)).toEqual([5, 0].flatMap((o) => [10, 2, 3].map((c) => itemAt(whole, o * 11 + c))));
  });
});

test("numbers that are missing are an error, and no zeros", () => {
  const layer = layerOf(12, 8, 2, 1);
  const spec = { generator: "philox-v1", key: 1n, r: 2, max: 12, min: 8, sparsity: "dense", grid: "f32" } as const;
  const bases = drawBases(spec, { rows: 12, bases: 4, cols: 8 }, new MemoryStdCache());
  for (const short of ["lambda", "gamma"] as const) {
    const less = { ...layer, [short]: Array.from(layer[short]).slice(0, -1) };
    expect(() => deltaReference(bases, less)).toThrow(RangeError);
  }
});
