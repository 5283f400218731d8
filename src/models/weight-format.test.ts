import { expect, test } from "bun:test";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { plannedLinear, plannedTable, plannedVector } from "./tensor-plan.ts";
import { weightFormat } from "./weight-format.ts";

const unread = {
  get: (name: string): never => {
    throw new Error(`${name} is not asked for`);
  },
} as unknown as TensorReader;

test.each([["Q8_0"], ["Q4_0"]] as const)("where layers are quantized to %s, tables are in Q8_0", (quantize) => {
  expect(weightFormat(unread, plannedTable(64, ["table", [5, 64]]), { quantize })).toBe("Q8_0");
  expect(weightFormat(unread, plannedLinear(64, ["linear", [5, 64]]), { quantize })).toBe(quantize);
  expect(weightFormat(unread, plannedVector(["bias", [64]]), { quantize })).toBe("F32");
});
