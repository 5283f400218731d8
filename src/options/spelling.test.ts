import { expect, test } from "bun:test";
import { findRespelt } from "./spelling.ts";

test("a number is told from what was written for it", () => {
  expect(findRespelt("stop: 012\nn: 12\n", "stop", 12)).toBe(12);
  expect(findRespelt("stop: 12\nn: 012\n", "stop", 12)).toBeUndefined();
  expect(findRespelt("stop: [7, 1.0]\n", "stop", [7, 1])).toBe(1);
});

test("a file of a megabyte takes no longer than reading it, whatever is in it", () => {
  const started = performance.now();
  expect(findRespelt(`prompt: ${"a".repeat(1e6)}\nstop: 5\n`, "stop", 5)).toBeUndefined();
  const many = Array.from({ length: 150_000 }, (_, index) => index);
  expect(findRespelt(`stop: [${many.join(", ")}]\n`, "stop", many)).toBeUndefined();
  expect(performance.now() - started).toBeLessThan(10_000);
});
