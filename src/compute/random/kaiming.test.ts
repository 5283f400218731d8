import { expect, test } from "bun:test";
import { kaimingUniform } from "./kaiming.ts";

test("numbers lie evenly within 1 / √in on both sides of 0, and follow the seed and the stream", () => {
  const [out, input] = [40, 400];
  const numbers = kaimingUniform(out, input, 7, 1);
  const bound = 1 / Math.sqrt(input);
  expect(numbers.length).toBe(out * input);
  expect(numbers.every((value) => Math.abs(value) < bound)).toBe(true);
  expect(Math.max(...numbers)).toBeGreaterThan(0.999 * bound);
  expect(Math.min(...numbers)).toBeLessThan(-0.999 * bound);
  // The deviation of an even distribution is its bound by √3.
  const deviation = Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0) / numbers.length);
  expect(deviation / bound).toBeCloseTo(1 / Math.sqrt(3), 2);
  expect(kaimingUniform(out, input, 7, 1)).toEqual(numbers);
  for (const other of [kaimingUniform(out, input, 8, 1), kaimingUniform(out, input, 7, 2)])
    expect(other).not.toEqual(numbers);
});
