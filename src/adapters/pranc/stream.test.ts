import { expect, test } from "bun:test";
import { itemAt } from "../../files/item-at.ts";
import fc from "fast-check";
import { theta } from "../testing/theta.ts";
import { thetaElement } from "../../compute/random/theta.ts";
import { thetaFingerprint, thetaOffsets, thetaScale } from "./stream.ts";
import { philoxKey } from "../../compute/random/philox.ts";

test("any element of any basis can be drawn alone", () => {
  const seed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
  const at = fc.nat({ max: 2 ** 31 - 1 }).chain((low) => fc.nat({ max: 2 ** 21 }).map((high) => high * 2 ** 31 + low));
  fc.assert(
    fc.property(seed, fc.nat({ max: 2 ** 20 }), at, (key, basis, element) => {
      expect(thetaElement(philoxKey(key), basis, element)).toBe(theta(key, basis, BigInt(element)));
    }),
    { numRuns: 300 },
  );
});

const FIRST = [
  [229, 115, 206, 45, 63, 226],
  [193, 45, 221, 222, 90, 164],
] as const;
const SHA256 = "79d59a6ba98fbbc6c7592fd88635cabc64d41a04459880b9fff730fe8fb478e3";

test("adapters that were saved stay readable: the first elements are these", () => {
  const [key, other] = [philoxKey(0n), philoxKey(2n ** 64n - 1n)];
  const bytes = (basis: number) => Array.from({ length: 6 }, (_, at) => (thetaElement(key, basis, at) * 255 + 255) / 2);
  expect(bytes(0).map(Math.round)).toEqual([...FIRST[0]]);
  expect(bytes(1).map(Math.round)).toEqual([...FIRST[1]]);
  expect(thetaFingerprint(key, [])).toBe(SHA256);
  expect(thetaFingerprint(other, [])).not.toBe(SHA256);
  const [q, k] = ["q", "k"].map((module) => ({ module, out: 4, in: 4 }));
  if (q === undefined || k === undefined) throw new Error("two");
  expect(thetaFingerprint(key, [q, k])).not.toBe(thetaFingerprint(key, [k, q]));
  expect(philoxKey(-1n)).toEqual(other);
});
test("elements are spread evenly from −1 to 1, and differ from basis to basis", () => {
  const key = philoxKey(7n);
  const count = 4000;
  const of = (basis: number) => Array.from({ length: count }, (_, at) => thetaElement(key, basis, at));
  const [one, other] = [of(0), of(1)];
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / count;
  // Five standard deviations of a mean of so many.
  expect(Math.abs(mean(one))).toBeLessThan((5 * 0.58) / Math.sqrt(count));
  expect(Math.abs(mean(one.map((value) => value ** 2)) - 257 / 765)).toBeLessThan((5 * 0.3) / Math.sqrt(count));
  expect(Math.abs(mean(one.map((value, at) => value * itemAt(other, at))))).toBeLessThan(5 / 3 / Math.sqrt(count));
});

test("layers lie one after the other, each at the begin of a block", () => {
  expect(thetaOffsets([])).toEqual([]);
  expect(
    thetaOffsets([
      { out: 5, in: 7 },
      { out: 4, in: 4 },
      { out: 1, in: 1 },
      { out: 2 ** 20, in: 2 ** 20 },
      { out: 2, in: 2 },
    ]),
  ).toEqual([0, 48, 64, 80, 2 ** 40 + 80]);
});

test("coefficients from N(0, 1) make ΔW as large as PyTorch's initial weights", () => {
  const [input, bases] = [48, 300];
  // K terms of standard deviation √(257/765) each.
  const size = thetaScale(1, bases, input) * Math.sqrt(bases * (257 / 765));
  expect(size).toBeCloseTo(1 / Math.sqrt(3 * input), 3);
  expect(thetaScale(-2, bases, input)).toBeCloseTo(-2 * thetaScale(1, bases, input), 12);
});
