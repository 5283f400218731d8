import { expect, test } from "bun:test";
import type { Counts, Traffic } from "../src/compute/gpu/testing/wgsl/counts.ts";
import { boundOf, CARDS } from "./cards.ts";

const NONE: Traffic = { loads: 0, stores: 0, bytes: 0, needed: 0, taken: 0, cycles: 0, phases: 0, distinct: 0 };
const CARD = CARDS["4090"];

/** Workgroups that all do the same. */
function counts(workgroups: number, { slots = 0, global = {}, shared = {} }): Counts {
  const scaled = (traffic: Partial<Traffic>): Traffic => {
    const entries = Object.entries({ ...NONE, ...traffic }).map(([key, one]) => [key, workgroups * one] as const);
    return Object.fromEntries(entries) as Record<keyof Traffic, number>;
  };
  const operations = { fma: workgroups * slots, float: 0, integer: 0 };
  const traffic = { global: scaled(global), shared: scaled(shared), worst: undefined };
  return { workgroups, threads: 256, barriers: 0, operations, slots: workgroups * slots, ...traffic };
}

test("multiply-adds alone take a card's peak, and one workgroup too many another turn", () => {
  const full = boundOf(counts(128, { slots: 128 * 2520 }), CARD);
  expect(full.microseconds).toBeCloseTo(1, 6);
  expect(full).toEqual({ microseconds: full.ideal, binds: "operations", ideal: full.ideal });
  expect(boundOf(counts(129, { slots: 128 * 2520 }), CARD).microseconds).toBeCloseTo(2, 6);
});

// gradium-ai/xn#71: 16 rows took as long as 128, 66 against 586 GFLOP/s.
test("a product of few rows takes as long as one of more, whose workgroups are no more than units", () => {
  const [few, many] = [64, 128].map((workgroups) => boundOf(counts(workgroups, { slots: 1e6 }), CARD));
  expect(few?.microseconds).toBe(many?.microseconds ?? NaN);
});

test.each([
  ["memory", { global: { distinct: 1008e3 / 1000 } }, 1],
  ["L2", { global: { phases: 10e6 / 1000 } }, 2],
  ["L1", { global: { cycles: 2520 } }, 8],
  ["workgroup memory", { shared: { cycles: 2520 } }, 8],
])("%s binds, by its bytes or cycles", (binds, one, microseconds) => {
  const bound = boundOf(counts(1000, one), CARD);
  expect(bound.binds).toBe(binds);
  expect(bound.microseconds).toBeCloseTo(microseconds, 6);
});

test("the peaks are the published ones, in TFLOP/s", () => {
  const peaks = Object.values(CARDS).map(({ units, lanes, ghz }) => Math.round((2 * units * lanes * ghz) / 100) / 10);
  expect(peaks).toEqual([82.6, 61.4, 13.7, 3.6, 8.3]);
});
