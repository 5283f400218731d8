import { expect, test } from "bun:test";
import type { JsonObject } from "../../files/lossless-json.ts";
import { formatBasesRecord, parseBasesRecord } from "./record.ts";

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
  expect(formatBasesRecord(parseBasesRecord(WRITTEN, "x.json"))).toEqual(WRITTEN);
  const keys = ["generator", "max", "min", "dtype", "sha256"];
  const rest = Object.fromEntries(Object.entries(WRITTEN).filter(([key]) => keys.includes(key)));
  expect(parseBasesRecord(rest, "x.json")).toMatchObject({ pairing: "peft", stdA: undefined, stdB: undefined });
});

test.each<[JsonObject, string]>([
  [{ generator: "dice" }, '"bases.generator" is "dice": it must be one of torch-mt19937-bf16-v1, '],
  [{ max: 2 ** 40 }, '"bases.max" is 1099511627776: it must be at most 2^31'],
  [{ min: 500 }, '"bases.min" is 500, more than "bases.max", which is 160'],
  [{ min: "64" }, '"bases.min" is "64": it must be a positive integer'],
  [{ std_a: -1 }, '"bases.std_a" is -1: it must be positive'],
  [{ sha256: { a: "00", b: "b".repeat(64) } }, '"bases.sha256.a" is "00": it must be a SHA-256 in hexadecimal'],
])("%j is refused", (change, message) => {
  expect(() => parseBasesRecord({ ...WRITTEN, ...change }, "x.json")).toThrow(`x.json: ${message}`);
});

test("a key that is missing is said to be, and no more", () => {
  const rest = Object.fromEntries(Object.entries(WRITTEN).filter(([key]) => key !== "sha256"));
  const refusal = expect.objectContaining({ message: 'x.json: "bases.sha256" is missing' });
  expect(() => parseBasesRecord(rest, "x.json")).toThrow(refusal);
});
