import { expect, test } from "bun:test";
import { plannedLinear, plannedVector } from "../models/tensor-plan.ts";
import type { OpenInput } from "./method/method.ts";
import { full } from "./methods.ts";

test("every matrix is a parameter of as many numbers as it has", async () => {
  const matrices = [plannedLinear(8, ["q", [6, 8]]), plannedVector(["norm", [8]])];
  const { training } = full;
  if (training.result !== "model") throw new TypeError("it trains an adapter");
  const { parameters, modules } = await training.open({ matrices } as unknown as OpenInput);
  expect(parameters).toEqual([
    { name: "q", shape: [6, 8] },
    { name: "norm", shape: [1, 8] },
  ]);
  expect(modules.map((module) => module.parameters)).toEqual([48, 8]);
});
