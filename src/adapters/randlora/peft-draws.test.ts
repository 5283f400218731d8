import { expect, test } from "bun:test";
import { gridOfWeights } from "../frozen/grid.ts";
import { drawsAlike } from "./peft-draws.ts";

test("a single 16-bit weight decides about the grid, and two kinds of them leave none", () => {
  expect(gridOfWeights(["F32", "F32"])).toBe("f32");
  expect(gridOfWeights(["F32", "BF16"])).toBe("bf16");
  expect(gridOfWeights(["F16", "F32"])).toBe("f16");
  expect(gridOfWeights(["F16", "BF16"])).toBeUndefined();
});

test("PEFT draws what it has the generator and the pairing for, on the grid of the checkpoint", () => {
  const record = { generator: "torch-mt19937-ternary", pairing: "peft", dtype: "f32" } as const;
  expect(drawsAlike(record, ["F32"])).toBe(true);
  expect(drawsAlike(record, ["BF16"])).toBe(false);
  expect(drawsAlike({ ...record, pairing: "paper" }, ["F32"])).toBe(false);
  expect(drawsAlike({ ...record, generator: "philox-v1" }, ["F32"])).toBe(false);
  expect(drawsAlike({ ...record, dtype: "bf16" }, ["BF16", "F16"])).toBe(false);
});
