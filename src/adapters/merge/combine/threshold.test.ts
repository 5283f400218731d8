import * as fc from "fast-check";
import { expect, test } from "bun:test";
import { keepLargest, thresholdOf } from "./rows.ts";

/** What is kept of a matrix that comes in parts, by sorting all of it: the largest, and of equal ones the first. */
function wanted(values: Float32Array, count: number): number[] {
  const order = [...values.keys()].toSorted((a, b) => Math.abs(values[b] ?? 0) - Math.abs(values[a] ?? 0) || a - b);
  const kept = new Set(order.slice(0, count));
  return [...values.keys()].map((index) => (kept.has(index) ? 1 : 0));
}

test("exactly so many of the largest elements are kept, whatever parts they come in", async () => {
  // Few values, so that many are equal; the smallest and largest f32; both zeros.
  const few = fc.constantFrom(0, -0, 1, -1, 2 ** -149, -(2 ** -149), 3.4028234663852886e38, 0.1, -0.1);
  const any = fc.oneof(few, fc.float({ noNaN: true, noDefaultInfinity: true }));
  const matrix = fc.array(any, { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(matrix, fc.nat(60), fc.nat(60), async (list, some, cut) => {
      const values = Float32Array.from(list);
      const count = Math.min(some, values.length);
      const threshold = await thresholdOf(async (visit) => {
        for (const part of [values.subarray(0, cut), values.subarray(cut)]) visit(part);
      }, count);
      const keep = keepLargest(threshold);
      expect([...values].map((value, index) => keep(value, index))).toEqual(wanted(values, count));
    }),
    { numRuns: 300 },
  );
});
