import { expect, test } from "bun:test";
import fc from "fast-check";
import * as format from "./format.ts";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [999_400, "999 kB"],
  [999_500, "1.00 MB"],
  [12_345_678, "12.3 MB"],
  [1.9e9, "1.90 GB"],
  [4.5e15, "4.50 PB"],
])("%p bytes are %p", (bytes, text) => expect(format.formatBytes(bytes)).toBe(text));

test.each([
  [999, "999"],
  [2_073_600, "2.07 M"],
  [1.1e9, "1.10 B"],
])("a count of %p is %p", (count, text) => expect(format.formatCount(count)).toBe(text));

test("three significant digits, never more than 7 characters up to the largest unit", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1000, max: 1e15 }), (bytes) => {
      const [digits = "", unit = ""] = format.formatBytes(bytes).split(" ");
      expect(digits.replace(".", "")).toHaveLength(3);
      const scale = 1000 ** (["kB", "MB", "GB", "TB", "PB"].indexOf(unit) + 1);
      expect(Math.abs(Number(digits) * scale - bytes) / bytes).toBeLessThanOrEqual(0.0051);
    }),
    { numRuns: 300 },
  );
});

test.each([
  [0.004, "0.004 s"],
  [0.0996, "0.10 s"],
  [1.254, "1.25 s"],
  [9.999, "10.0 s"],
  [59.96, "1:00"],
  [125, "2:05"],
  [3723, "1:02:03"],
  [Infinity, "?"],
])("%p seconds are %p", (seconds, text) => expect(format.formatDuration(seconds)).toBe(text));

test.each([
  [-1, "0 s ago"],
  [59.9, "59 s ago"],
  [3599, "59 min ago"],
  [47.9 * 3600, "47 h ago"],
  [48 * 3600, "2 days ago"],
])("what was %p seconds ago was %p", (seconds, text) => expect(format.formatAge(seconds)).toBe(text));

test.each([
  [0, "0"],
  [0.03125, "0.03125"],
  [1.234567, "1.235"],
  [2.1e-7, "2.100e-7"],
  [-12_345_678, "-1.235e+7"],
  [Number.NaN, "NaN"],
])("a measurement of %p is %p", (value, text) => expect(format.formatMeasure(value)).toBe(text));

test("what is counted stands in the plural, but for one", () => {
  const texts = [0, 1, 2, 1234].map((count) => format.formatAmount(count, "layer"));
  expect(texts).toEqual(["0 layers", "1 layer", "2 layers", "1,234 layers"]);
});

test("numbers carry separators, shares never round to all or nothing", () => {
  expect([format.formatNumber(1_234_567), format.formatNumber(1234.5, 2)]).toEqual(["1,234,567", "1,234.50"]);
  expect([1, 0.99999, 0.1234, 0.0001, 0].map(format.formatShare)).toEqual([
    "100.0 %",
    "> 99.9 %",
    "12.3 %",
    "< 0.1 %",
    "0.0 %",
  ]);
});
