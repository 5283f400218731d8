import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { torchRandperm } from "./randperm.ts";

const expected: { permutations: [number, number[]][]; long: string } = JSON.parse(
  readFileSync(join(import.meta.dir, "../../../fixtures/images/sets/expected.json"), "utf8"),
);

test("torchRandperm is torch's", () => {
  expect(expected.permutations.length).toBeGreaterThan(3);
  for (const [seed, permutation] of expected.permutations) {
    expect([...torchRandperm(permutation.length, BigInt(seed))]).toEqual(permutation);
  }
  // As many as Caltech 256 has images.
  const long = torchRandperm(30607, 0n);
  expect(new Bun.CryptoHasher("sha256").update(new Uint8Array(long.buffer)).digest("hex")).toBe(expected.long);
  expect(torchRandperm(0, 0n).length).toBe(0);
});
