import { expect, test } from "bun:test";
import type { JsonObject } from "../../files/lossless-json.ts";
import { gridOfWeights } from "../frozen/kind.ts";
import { drawsAlike } from "../frozen/training.ts";
import { finishSteps } from "../frozen/drawing/bases.ts";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import { RANDLORA_BASES } from "./bases.ts";

const { format, parse } = RANDLORA_BASES;

const WRITTEN: JsonObject = {
  generator: "torch-mt19937-bf16-v2",
  pairing: "peft",
  max: 160,
  min: 64,
  dtype: "bf16",
  std_a: 0.07,
  std_b: 0.29,
  sha256: { a: "a".repeat(64), b: "b".repeat(64) },
};

test("a record comes back as it was written; the pairing may be left out", () => {
  expect(format(parse(WRITTEN, "x.json"))).toEqual(WRITTEN);
  const keys = ["generator", "max", "min", "dtype", "sha256"];
  const rest = Object.fromEntries(Object.entries(WRITTEN).filter(([key]) => keys.includes(key)));
  expect(parse(rest, "x.json")).toMatchObject({ pairing: "peft", stdA: undefined, stdB: undefined });
});

test.each<[JsonObject, string]>([
  [{ generator: "dice" }, '"bases.generator" is "dice": it must be one of torch-mt19937-bf16-v1, '],
  [{ max: 2 ** 40 }, '"bases.max" is 1099511627776: it must be at most 2^31'],
  [{ min: 500 }, '"bases.min" is 500, more than "bases.max", which is 160'],
  [{ min: "64" }, '"bases.min" is "64": it must be a positive integer'],
  [{ std_a: -1 }, '"bases.std_a" is -1: it must be positive'],
  [{ sha256: { a: "00", b: "b".repeat(64) } }, '"bases.sha256.a" is "00": it must be a SHA-256 in hexadecimal'],
])("%j is refused", (change, message) => {
  expect(() => parse({ ...WRITTEN, ...change }, "x.json")).toThrow(`x.json: ${message}`);
});

test("a key that is missing is said to be, and no more", () => {
  const rest = Object.fromEntries(Object.entries(WRITTEN).filter(([key]) => key !== "sha256"));
  const refusal = expect.objectContaining({ message: 'x.json: "bases.sha256" is missing' });
  expect(() => parse(rest, "x.json")).toThrow(refusal);
});

test("a single 16-bit weight decides about the grid, and two kinds of them leave none", () => {
  expect(gridOfWeights(["F32", "F32"])).toBe("f32");
  expect(gridOfWeights(["F32", "BF16"])).toBe("bf16");
  expect(gridOfWeights(["F16", "F32"])).toBe("f16");
  expect(gridOfWeights(["F16", "BF16"])).toBeUndefined();
});

test("PEFT draws what it has the generator and the pairing for, on the grid of the checkpoint", () => {
  const record = {
    ...parse(WRITTEN, "x.json"),
    generator: "torch-mt19937-ternary",
    pairing: "peft",
    dtype: "f32",
  } as const;
  expect(drawsAlike(RANDLORA_BASES, record, ["F32"])).toBe(true);
  expect(drawsAlike(RANDLORA_BASES, record, ["BF16"])).toBe(false);
  expect(drawsAlike(RANDLORA_BASES, { ...record, pairing: "paper" }, ["F32"])).toBe(false);
  expect(drawsAlike(RANDLORA_BASES, { ...record, generator: "philox-v1" }, ["F32"])).toBe(false);
  expect(drawsAlike(RANDLORA_BASES, { ...record, dtype: "bf16" }, ["BF16", "F16"])).toBe(false);
});

const MODULES = [
  { out: 12, in: 20 },
  { out: 30, in: 8 },
];

test("bases are drawn at the largest output and input, and the record draws them again", () => {
  const cache = new MemoryStdCache();
  const drawn = { generator: "torch-mt19937-bf16-v2", dtype: "bf16", ...RANDLORA_BASES.sizesFor(MODULES) } as const;
  expect(drawn).toMatchObject({ max: 30, min: 20 });
  const config = { key: 9n, r: 3, sparsity: "dense" } as const;
  const print = finishSteps(RANDLORA_BASES.print(drawn, config, cache));
  const record = parse(format(RANDLORA_BASES.record(drawn, print, config)), "run.json");
  expect(record).toMatchObject({ ...drawn, pairing: "peft" });
  const { a, stdA, stdB } = finishSteps(RANDLORA_BASES.draw(drawn, config, RANDLORA_BASES.whole(drawn, 3), cache));
  expect([record.stdA, record.stdB]).toEqual([stdA ?? Number.NaN, stdB ?? Number.NaN]);
  expect(readElement(a, 0, 0)).not.toBe(0);
});

test("a generator that normalizes nothing records no deviations", () => {
  const drawn = { generator: "philox-v1", dtype: "f32", ...RANDLORA_BASES.sizesFor(MODULES) } as const;
  const config = { key: 1n, r: 4, sparsity: "sparse" } as const;
  const print = finishSteps(RANDLORA_BASES.print(drawn, config, new MemoryStdCache()));
  const written = format(RANDLORA_BASES.record(drawn, print, config));
  expect(Object.keys(written)).toEqual(["generator", "pairing", "max", "min", "dtype", "sha256"]);
});
