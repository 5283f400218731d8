import { expect, test } from "bun:test";
import { openTestDevice } from "../../src/compute/device/testing/open.ts";
import { ModelSource } from "../../src/train/text/model.ts";
import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { stepFlops } from "./flops.ts";
import { settingsOf } from "./trainee.ts";

test("a step's flops are of the orders that were chosen, and of no others", async () => {
  using gpu = await openTestDevice();
  const settings = await settingsOf(STORIES, { method: "randlora", rank: 8 });
  await using source = await ModelSource.open(settings, { folder: STORIES, weights: undefined });
  const place = { staging: gpu.staging, tokens: 64, microBatches: 1, choices: undefined };
  using rich = await source.place(gpu.counting(), { ...place, budget: 2 ** 30 });
  const { method } = rich;
  const orders = method.choices["orders"];
  if (!Array.isArray(orders)) throw new TypeError("no orders");
  const factored = { ...method, choices: { orders: orders.map(() => "factored") } };
  const merged = { ...method, choices: { orders: orders.map(() => "merged-g") } };
  expect(stepFlops({ ...rich, method: factored }, 8, 64)).not.toBe(stepFlops({ ...rich, method: merged }, 8, 64));
  for (const wrong of [orders.slice(1), ["backwards", ...orders.slice(1)]]) {
    const other = { ...rich, method: { ...method, choices: { orders: wrong } } };
    expect(() => stepFlops(other, 8, 64)).toThrow(/\borders?\b/);
  }
});
