import { expect, test } from "bun:test";
import { laterSeed } from "./seed.ts";

test("seeds follow one another, and begin anew after the largest", () => {
  const last = Number.MAX_SAFE_INTEGER;
  expect([0, 1, 5].map((by) => laterSeed(7, by))).toEqual([7, 8, 12]);
  expect([0, 1, 2, 3].map((by) => laterSeed(last - 1, by))).toEqual([last - 1, last, 0, 1]);
});
