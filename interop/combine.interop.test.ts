import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { judge } from "./judge.ts";
import { merge, randlora } from "./program.ts";
import { openTensors, type StoredTensor } from "./tensors.ts";

// A LoRA by singular values, and ΔW combined, beside PEFT's.

const python = await judge();

/** The largest difference, as a part of the largest element wanted. */
function worst(found: (index: number) => number, wanted: StoredTensor | undefined): number {
  const values = wanted?.values() ?? Float64Array.of(NaN);
  let [difference, largest] = [0, 0];
  for (const [i, value] of values.entries()) {
    difference = Math.max(difference, Math.abs(found(i) - value));
    largest = Math.max(largest, Math.abs(value));
  }
  return difference / largest;
}

function largestOf(values: Iterable<number>): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest;
}

const Report = v.object({ modules: v.array(v.object({ module: v.string(), rank: v.number(), energy: v.number() })) });
const Kept = v.record(v.string(), v.number());

describe("a LoRA of ΔW", () => {
  test.each([
    ["dense-f32-copies", 6],
    ["dense-f32-copies", 0.9],
    ["sparse-f32-copies", 0.99],
    ["conv1d-f32", 5],
  ] as const)("%s, %d: is PEFT's convert_to_lora, and numpy's energies", async (name, rank) => {
    const of = await python.case(name);
    const [adapter = ""] = of.adapters;
    const [out, theirs] = ["lora", "peft"].map((one) => join(of.folder, `${one}-of-${rank}`)) as [string, string];
    const flag = Number.isInteger(rank) ? "--rank" : "--energy";
    const generator = of.generator === null ? [] : ["--generator", of.generator];
    const args = [
      "convert",
      adapter,
      "--to",
      "lora",
      flag,
      String(rank),
      "--base",
      of.base,
      "--out",
      out,
      ...generator,
    ];
    const report = v.parse(Report, JSON.parse(await randlora([...args, "--json"])));
    const kept = await python.request(Kept, "lora_of", { base: of.base, adapter, rank, out: theirs });
    const loaded = await python.loadAdapter(of.base, out, `${out}.safetensors`);
    expect(loaded.warnings).toEqual([]);
    const [ours, wanted] = [openTensors(`${out}.safetensors`), openTensors(theirs)];
    expect(2 * report.modules.length).toBe(wanted.size);
    for (const { module, energy } of report.modules) {
      const values = ours.get(`${module}.delta`)?.values() ?? [];
      const off = (of: string) => worst((i) => values[i] ?? NaN, wanted.get(`${module}.${of}`));
      expect(off("exact"), module).toBeLessThan(1e-6);
      // PEFT decomposes in f32, and is this far from numpy's f64 itself where singular values are near to each other.
      expect(off("delta"), module).toBeLessThan(5e-5);
      expect(Math.abs(energy - (kept[module] ?? NaN)), module).toBeLessThan(1e-5);
    }
  });
});

describe("--combine", () => {
  test.each([
    ["ties", "ties", 0.3, "total"],
    ["ties", "ties", 0.6, "frequency"],
    ["magnitude-prune", "magnitude_prune", 0.2, null],
    // Nothing is dropped: PEFT's random choice is torch's, ours our own.
    ["dare-linear", "dare_linear", 1, null],
    ["dare-ties", "dare_ties", 1, "frequency"],
  ] as const)("%s: ΔW are those of peft.utils.merge_utils.%s, density %d, %p", async (how, theirs, density, sign) => {
    // Of one base, and without sparse bases, which make elements of ΔW that are equal but for rounding.
    const cases = [];
    for (const name of ["lora-f32-patterns", "dense-f32-copies", "dense-f32-foreign"])
      cases.push(await python.case(name));
    const [of] = cases;
    if (of === undefined) throw new Error("no case");
    const adapters = cases.flatMap((one) => one.adapters);
    const weights = [1, 0.5, -2];
    const file = join(of.folder, `${how}-${density}-${sign}`);
    const more = sign === null ? [] : ["--majority-sign", sign];
    const scales = weights.flatMap((weight) => ["--scale", String(weight)]);
    const wish = [
      "--combine",
      how,
      "--density",
      String(density),
      ...scales,
      ...more,
      "--out",
      `${file}-merged`,
      "--verify",
    ];
    await merge([of.base, ...adapters, ...wish]);
    const asked = { base: of.base, adapters, weights, density, majority_sign: sign };
    await python.request(v.null(), "combined", { ...asked, how: theirs, out: file });
    const [base, merged] = [openTensors(of.base), openTensors(`${file}-merged`)];
    const deltas = openTensors(file);
    expect(deltas.size).toBeGreaterThan(4);
    for (const [name, wanted] of deltas) {
      const weight = name.replace(/\.delta$/, ".weight");
      const [before, after] = [base, merged].map((one) => one.get(weight)?.values() ?? []);
      // f32 weights are rounded to 6e-8 of themselves.
      const difference = worst((i) => (after?.[i] ?? NaN) - (before?.[i] ?? NaN), wanted);
      const rounding = largestOf(before ?? []) / largestOf(wanted.values());
      expect(difference, name).toBeLessThan(1e-5 + 1.2e-7 * rounding);
    }
  });
});
