// What the paper is about (arXiv:2502.00987, section 4): at which rank an update may be, with few numbers.
import { expect, test } from "bun:test";
import { itemAt } from "../files/item-at.ts";
import { MemoryStdCache } from "./testing/drawn-bases.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import type { JsonObject } from "../files/lossless-json.ts";
import { planAdapter } from "./methods.ts";
import { openAdapter } from "./formats/open.ts";
import { drawnTensors } from "./testing/convert.ts";
import { UNREAD } from "./testing/weights.ts";
import { baseOf, f32, type TestTensor, writeFolder } from "./testing/adapters.ts";
import { numbers } from "./testing/bases.ts";
import { loraTensors } from "./testing/lora.ts";
import { writeNola } from "./testing/nola.ts";
import { rankOf, singularValues } from "./testing/singular-values.ts";

/** Square, tall and wide; m = 24, of which r = 5 is no divisor. */
const MODULES = { q: [24, 24], up: [37, 24], down: [24, 41] } as const;
const BASE = baseOf(Object.fromEntries(Object.entries(MODULES).map(([name, shape]) => [`${name}.weight`, shape])));
const R = 5;

/** λ and γ of every module, with so many bases. */
function scales(bases: number): Record<string, TestTensor> {
  return Object.fromEntries(
    Object.keys(MODULES).flatMap((name) => [
      [`base_model.model.${name}.randlora_lambda`, f32([R, bases], numbers(R * bases))],
      [`base_model.model.${name}.randlora_gamma`, f32([bases, 24], numbers(bases * 24))],
    ]),
  );
}

/** The ranks of ΔW of the modules. */
async function ranksOf(
  config: JsonObject,
  tensors: Readonly<Record<string, TestTensor>>,
  base = BASE,
): Promise<number[]> {
  await using folder = await TemporaryFolder.create();
  const settings = { r: R, target_modules: Object.keys(MODULES), ...config };
  return await ranksOfFolder(await writeFolder(folder.at("a"), settings, tensors), base);
}

async function ranksOfFolder(path: string, base = BASE): Promise<number[]> {
  await using adapter = await openAdapter(path);
  const plan = planAdapter(adapter, base, { generator: "torch-mt19937-bf16-v2", amongOthers: true });
  const source = await plan.load();
  const every = (count: number) => Array.from({ length: count }, (_, at) => at);
  const ranks: number[] = [];
  for (const [index, { out, in: input }] of plan.layers.entries()) {
    const delta = await source.reference(index, 1, { rows: every(out), cols: every(input) }, UNREAD);
    ranks.push(rankOf(delta, out, input));
  }
  return ranks;
}

const LORA = loraTensors({ r: 3, alpha: 3, seed: 1, modules: MODULES });
const HYBRID = { peft_type: "RANDLORA_HYBRID", lora_r: 3 };

test.each<[string, JsonObject, Record<string, TestTensor>, number]>([
  ["RandLoRA: full", { peft_type: "RANDLORA" }, scales(5), 24],
  ["RandLoRA in the paper's pairing: full", { peft_type: "RANDLORA_PAPER" }, scales(5), 24],
  // ⌈24/10⌉ = 3 bases of rank 5.
  ["half-rank: of half of the bases", { peft_type: "RANDLORA_HALF_RANK" }, scales(3), 15],
  ["LoRA: its own", { peft_type: "LORA", r: 3 }, LORA, 3],
  ["both: full", { ...HYBRID, randlora_variant: "peft" }, { ...scales(5), ...LORA }, 24],
  ["both, half-rank: the sum", { ...HYBRID, randlora_variant: "half-rank" }, { ...scales(3), ...LORA }, 18],
])("rank(ΔW) of %s", async (_, config, tensors, rank) => {
  expect(await ranksOf(config, tensors)).toEqual([rank, rank, rank]);
});

test("rank-r: that of both factors, whatever their bases", async () => {
  // Bases for both factors: those of B, of 41 rows, and below them those of A, of 37.
  const spec = {
    generator: "philox-v1",
    key: 5n,
    r: R,
    max: 41 + 37,
    min: 37,
    sparsity: "dense",
    grid: "f32",
  } as const;
  const { a, b } = await drawnTensors(spec, new MemoryStdCache());
  const pair = {
    "base_model.randlora_A": { dtype: a.dtype, shape: a.shape, data: await a.readAll() },
    "base_model.randlora_B": { dtype: b.dtype, shape: b.shape, data: await b.readAll() },
  };
  expect(await ranksOf({ peft_type: "RANDLORA_RANK_R" }, { ...pair, ...scales(5) })).toEqual([R, R, R]);
});

test("NoLA: the rank that was given, with fewer or more bases", async () => {
  await using folder = await TemporaryFolder.create();
  for (const bases of [2, 40]) {
    const nola = { r: 3, alpha: 3, bases, key: 1n, initSeed: 2, modules: MODULES };
    expect(await ranksOfFolder(await writeNola(folder.at(`${bases}`), nola))).toEqual([3, 3, 3]);
  }
});

test.each(["sparse", "very-sparse"] as const)(
  "columns of A that are all zeros take from the rank: %s",
  async (sparsity) => {
    // q alone: bases of 24 × 24.
    const spec = {
      generator: "torch-mt19937-ternary",
      key: 0n,
      r: R,
      max: 24,
      min: 24,
      sparsity,
      grid: "f32",
    } as const;
    const { a } = await drawnTensors(spec, new MemoryStdCache());
    const values = new Float32Array((await a.readAll()).buffer);
    const full = Array.from({ length: 24 }, (_, col) => col).filter((col) =>
      values.some((v, at) => at % 24 === col && v),
    );
    expect(full.length).toBeWithin(1, 24);
    const own = Object.entries(scales(5)).filter(([name]) => name.includes(".q."));
    const config = {
      peft_type: "RANDLORA",
      sparse: true,
      very_sparse: sparsity === "very-sparse",
      target_modules: ["q"],
    };
    const base = baseOf({ "q.weight": MODULES.q });
    expect(await ranksOf(config, Object.fromEntries(own), base)).toEqual([full.length]);
  },
);

test("singular values are those that were put in", () => {
  const [rows, cols, sizes] = [9, 6, [5, 3, 2, 1, 1e-3, 0]];
  // Two reflections, which are orthogonal, around a diagonal.
  const reflection = (size: number, salt: number) => {
    const v = Array.from({ length: size }, (_, i) => Math.sin(salt + i * 2.3));
    const norm = v.reduce((sum, value) => sum + value * value, 0);
    return (i: number, j: number) => Number(i === j) - (2 * itemAt(v, i) * itemAt(v, j)) / norm;
  };
  const [left, right] = [reflection(rows, 1), reflection(cols, 2)];
  const matrix = Array.from({ length: rows * cols }, (_, at) =>
    sizes.reduce((sum, size, k) => sum + left(Math.floor(at / cols), k) * size * right(k, at % cols), 0),
  );
  const turned = matrix.map((_, at) => itemAt(matrix, (at % rows) * cols + Math.floor(at / rows)));
  for (const found of [singularValues(matrix, rows, cols), singularValues(turned, cols, rows)]) {
    sizes.forEach((size, at) => expect(Math.abs(itemAt(found, at) - size)).toBeLessThan(1e-12));
  }
  expect(rankOf(matrix, rows, cols)).toBe(5);
});
