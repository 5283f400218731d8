import { expect, test } from "bun:test";
import { normal } from "./normal.ts";

test("normal numbers have their moments, a seed its own, and more of them begin with the same", () => {
  const count = 200_001;
  const numbers = normal(count, 0.01, 7n);
  const moment = (power: number) => numbers.reduce((sum, value) => sum + (value / 0.01) ** power, 0) / count;
  expect(Math.abs(moment(1))).toBeLessThan(0.01);
  expect(Math.abs(moment(2) - 1)).toBeLessThan(0.02);
  expect(Math.abs(moment(3))).toBeLessThan(0.05);
  expect(Math.abs(moment(4) - 3)).toBeLessThan(0.1);
  expect(normal(6, 0.01, 7n)).toEqual(numbers.slice(0, 6));
  expect(normal(6, 0.01, 8n)).not.toEqual(numbers.slice(0, 6));
  // A seed is 64 bits.
  expect(normal(6, 0.01, 7n + 2n ** 32n)).not.toEqual(numbers.slice(0, 6));
});
