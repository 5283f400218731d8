import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { drawFactors } from "../src/adapters/frozen/drawing/factors.ts";
import { finishSteps } from "../src/adapters/frozen/drawing/bases.ts";
import { basesCount, drawBases, type BasesExtent } from "../src/adapters/frozen/drawing/draw.ts";
import { readElement, type BasisMatrix } from "../src/compute/device/matrix-storage.ts";
import type { StdCache, StdPair } from "../src/adapters/files/std-cache.ts";
import type { FloatGrid, Sparsity } from "../src/compute/random/names.ts";
import { judge, type BasesSpec, type FactorsSpec } from "./judge.ts";
import { openTensors } from "./tensors.ts";

const python = await judge();

/** max, min, r: square, tall, r that does not divide, r above min, the 135M model's own and a tiny one. */
const SHAPES = [
  [128, 128, 16],
  [320, 128, 10],
  [200, 7, 3],
  [40, 5, 8],
  [257, 96, 96],
  [1536, 576, 16],
  [19, 4, 2],
] as const;
const KEYS = ["0", "1", "-1", "-3", "2147483648", "4294967301", "9007199254740993", "18446744073709551615"];
const KINDS = ["dense", "sparse", "very_sparse"] as const;
const GRIDS: readonly FloatGrid[] = ["bf16", "f16", "f32"];

/** Every shape, kind and grid with one key; every key with one shape. */
const specs: BasesSpec[] = KINDS.flatMap((kind) => [
  ...SHAPES.flatMap(([max, min, r], i) =>
    GRIDS.map((dtype) => ({ name: `${kind} ${max}x${min} r=${r} ${dtype}`, key: String(i), r, max, min, kind, dtype })),
  ),
  ...KEYS.map((key) => ({ name: `${kind} key ${key}`, key, r: 6, max: 48, min: 32, kind, dtype: "bf16" as const })),
]);

/** What PEFT draws for all specs, as one file. */
const drawn = join(await python.work(), "bases.safetensors");
await python.bases(specs, drawn);
const peft = openTensors(drawn);

/** Forgets everything with the test. */
function memoryStdCache(): StdCache {
  const pairs = new Map<string, StdPair>();
  return { get: (key) => pairs.get(key) ?? null, set: (key, stds) => void pairs.set(key, stds) };
}

/** Elements of a packed matrix that are not PEFT's, whose rows are `pitch` apart. */
function mismatches(ours: BasisMatrix, theirs: Float32Array | Float64Array, pitch: number): number {
  let count = 0;
  for (let row = 0; row < ours.rows; row++) {
    for (let col = 0; col < ours.cols; col++) {
      if (readElement(ours, row, col) !== theirs[row * pitch + col]) count++;
    }
  }
  return count;
}

describe.each(specs)("$name", ({ name, key, r, max, min, kind, dtype }) => {
  const sparsity: Sparsity = kind === "very_sparse" ? "very-sparse" : kind;
  const generator = kind === "dense" ? "torch-mt19937-bf16-v2" : "torch-mt19937-ternary";
  const n = basesCount(min, r);
  const whole = { rows: max, bases: n, cols: min };
  const part = { rows: Math.ceil(max / 2), bases: Math.ceil(n / 3), cols: Math.ceil(min / 3) };
  const spec = { generator, key: BigInt(key), r, max, min, sparsity, grid: dtype } as const;
  const a = peft.get(`${name}.a`);
  const b = peft.get(`${name}.b`);

  test("every element is the one that PEFT draws", () => {
    const cache = memoryStdCache();
    // The second round has the standard deviations; the third draws only what a small layer needs.
    for (const extent of [whole, whole, part] satisfies BasesExtent[]) {
      const ours = drawBases(spec, extent, cache);
      expect([ours.a.rows, ours.a.cols, ours.b.rows, ours.b.cols]).toEqual([
        r,
        extent.cols,
        extent.rows,
        extent.bases * r,
      ]);
      expect(mismatches(ours.a, a?.values() ?? new Float32Array(), min)).toBe(0);
      expect(mismatches(ours.b, b?.values() ?? new Float32Array(), n * r)).toBe(0);
    }
  });
});

/** Layers that PEFT draws one pair of VeRA's factors for: the most inputs and outputs may be different layers'. */
const LAYERS: [number, number][][] = [
  [[40, 24]],
  [
    [96, 24],
    [24, 200],
  ],
  [
    [576, 576],
    [1536, 576],
    [576, 1536],
  ],
];

const factorSpecs: FactorsSpec[] = [
  ...LAYERS.flatMap((layers, i) =>
    GRIDS.map((dtype) => ({ name: `factors ${i} ${dtype}`, key: String(i), r: 17 + 100 * i, layers, dtype })),
  ),
  ...KEYS.map((key) => ({ name: `factors key ${key}`, key, r: 6, layers: LAYERS[1] ?? [], dtype: "f32" as const })),
];

const drawnFactors = join(await python.work(), "factors.safetensors");
await python.factors(factorSpecs, drawnFactors);
const peftFactors = openTensors(drawnFactors);

/** Elements of a held factor that are not PEFT's, which is its transpose with rows of `pitch`. */
function mismatchesAcross(held: BasisMatrix, theirs: Float32Array | Float64Array, pitch: number): number {
  let count = 0;
  for (let row = 0; row < held.rows; row++) {
    for (let col = 0; col < held.cols; col++) {
      if (readElement(held, row, col) !== theirs[col * pitch + row]) count++;
    }
  }
  return count;
}

test.each(factorSpecs)("$name: every element is the one that PEFT draws", ({ name, key, r, layers, dtype }) => {
  const [maxOut, maxIn] = [Math.max(...layers.map(([out]) => out)), Math.max(...layers.map(([, input]) => input))];
  const spec = { generator: "torch-mt19937-f32", key: BigInt(key), r, maxIn, maxOut, grid: dtype } as const;
  const [a, b] = [peftFactors.get(`${name}.a`), peftFactors.get(`${name}.b`)];
  expect([a?.shape, b?.shape]).toEqual([
    [r, maxIn],
    [maxOut, r],
  ]);
  for (const extent of [
    { in: maxIn, out: maxOut },
    { in: 10, out: 9 },
  ]) {
    const ours = finishSteps(drawFactors(spec, extent));
    expect([ours.b.rows, ours.a.cols]).toEqual([extent.in, extent.out]);
    expect(mismatchesAcross(ours.b, a?.values() ?? new Float32Array(), maxIn)).toBe(0);
    expect(mismatchesAcross(ours.a, b?.values() ?? new Float32Array(), r)).toBe(0);
  }
});
