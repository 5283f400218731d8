// What methods with equally many parameters can be: a matrix of full rank is fitted by each. A LoRA of rank r can come no nearer
// than the r largest singular values let it (Eckart and Young, Psychometrika 1, 1936), whatever has full rank may.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { CpuDevice } from "../compute/cpu/cpu.ts";
import type { Device } from "../compute/device/device.ts";
import { nearestSize } from "./budget.ts";
import type { MethodDefinition } from "./method/method.ts";
import { isAdapterMethod, METHODS } from "./methods.ts";
import type { AdapterSettings } from "./method/settings.ts";
import { fitMethod } from "./testing/fit.ts";
import { fitTarget } from "./testing/fit-targets.ts";
import { rankOf } from "./testing/singular-values.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await CpuDevice.open({ threads: 2 }); // what methods can represent is no device's business, and this is the fastest
});
afterAll(() => gpu.close());

const SIZE = 128;
/** LoRA's rank; every method gets as many parameters. */
const RANK = 4;
const BUDGET = RANK * 2 * SIZE;
const BOUND = 1 - RANK / SIZE;
/** Random networks are drawn twice a step: not more of them than a test has time for. */
const MOST_BASES = 256;

/** A method, and settings of its own. */
const CASES: readonly { name: string; method: MethodDefinition; given: Readonly<Record<string, unknown>> }[] =
  METHODS.filter(isAdapterMethod).flatMap((method) => [
    { name: method.name, method, given: {} },
    ...("variant" in method.training.settings && method === METHODS[0]
      ? [
          { name: `${method.name}, paper`, method, given: { variant: "paper" } },
          { name: `${method.name}, sparse`, method, given: { sparsity: "sparse" } },
          { name: `${method.name}, half-rank`, method, given: { variant: "half-rank" } },
          { name: `${method.name}, rank-r`, method, given: { variant: "rank-r" } },
          { name: `${method.name} with magnitudes`, method, given: { dora: true } },
        ]
      : []),
  ]);

test.each(CASES)("$name fits a matrix of equal singular values", async ({ name, method, given }) => {
  const { capacity } = method.training;
  const most = capacity.setting === "bases" ? MOST_BASES : Infinity;
  // A hybrid's LoRA takes half of the budget.
  const own: Partial<AdapterSettings> & Readonly<Record<string, unknown>> = {
    ...given,
    ...("loraRank" in method.training.settings ? { loraRank: RANK / 2 } : {}),
  };
  const { value, parameters } = nearestSize(capacity, [{ out: SIZE, in: SIZE }], BUDGET, own, most);
  const problem = { size: SIZE, target: fitTarget("flat", SIZE), steps: 80, learningRate: 0.1, seed: 0 };
  const fit = await fitMethod(gpu, method, { ...own, [capacity.setting]: value }, problem);
  expect(fit.parameters).toBe(parameters);
  expect(fit.error).toBeLessThan(1 - 1e-3);
  const isLowRank = /rank-r|^lora|^nola/.test(name);
  if (isLowRank) {
    expect(rankOf(fit.delta.subarray(0, SIZE * 64), 64, SIZE)).toBeLessThanOrEqual(fit.rank);
    expect(fit.error).toBeGreaterThan(1 - fit.rank / SIZE - 1e-3);
  }
  if (name === "lora") expect(fit.error).toBeLessThan(BOUND + 1e-3);
  // Nearly as many parameters again as LoRA needs for the same.
  if (/^randlora(?:, paper|$)/.test(name)) expect(fit.error).toBeLessThan(1 - 1.6 * (RANK / SIZE));
});
