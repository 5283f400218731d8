import { expect, test } from "bun:test";
import { defaultStaging, hasIntegerDots } from "./integer-dots.ts";

const OFFERED = new Set(["packed_4x8_integer_dot_product"]);

test.each([
  ["nvidia", "maxwell", false],
  ["nvidia", "pascal", true],
  ["nvidia", "lovelace", true],
  ["nvidia", "", true],
  ["amd", "gcn-5", false],
  ["amd", "rdna-1", false],
  ["amd", "rdna-3", true],
  ["intel", "gen-9", false],
  ["intel", "gen-12lp", true],
  ["intel", "xe-2hpg", true],
  ["apple", "metal-3", false],
  ["", "", false],
])("%s %s: %p", (vendor, architecture, has) => {
  const card = { vendor, architecture, software: false };
  expect(hasIntegerDots(card, OFFERED, "linux")).toBe(has);
  expect(hasIntegerDots(card, OFFERED, "darwin")).toBe(false);
  expect(hasIntegerDots(card, new Set(), "linux")).toBe(false);
  expect(hasIntegerDots({ ...card, software: true }, OFFERED, "linux")).toBe(false);
});

test("a card that has them takes them", () => {
  expect(defaultStaging({ integerDots: true })).toEqual({ kind: "workgroup", integerDots: true });
  expect(defaultStaging({ integerDots: false })).toEqual({ kind: "workgroup" });
});
