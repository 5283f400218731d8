import { describe, expect, test } from "bun:test";
import { randloraShape } from "../../randlora/plan.ts";
import { adapterFlops, type OrderPlan } from "./shape.ts";
import { orderBytes, type OrdersQuestion, planOrders } from "./place.ts";
import type { MatrixShape } from "./factored.ts";

const RANK = 16;

/** SmolLM2-135M: 30 layers, of whose projections q, k, v, up and down are adapted. */
const LAYER: readonly MatrixShape[] = [
  { out: 960, in: 576, modules: [576, 192, 192].map((out) => randloraShape(out, 576, RANK)) },
  { out: 3072, in: 576, modules: [randloraShape(1536, 576, RANK)] },
  { out: 576, in: 1536, modules: [randloraShape(576, 1536, RANK)] },
];
const MODEL = Array.from({ length: 30 }, () => LAYER).flat();

const question = (changed: Partial<OrdersQuestion> = {}): OrdersQuestion => ({
  matrices: MODEL,
  compute: "auto",
  tokens: 1024,
  microBatches: 1,
  dropout: false,
  density: 1,
  budget: Infinity,
  partBytes: () => ({ lambdaParts: 0, gammaParts: 0 }),
  panelBytes: () => 0,
  ...changed,
});

/** A step of RandLoRA against one of LoRA with r = 10: all products but attention's. */
function ratio(changed: Partial<OrdersQuestion>): number {
  const { tokens } = question(changed);
  const parameters = 30 * (576 * (576 + 192 + 192 + 576) + 3 * 1536 * 576) + 49_152 * 576;
  const frozen = 4 * tokens * parameters;
  const lora = 6 * tokens * 10 * 30 * (576 + 576 + 2 * (576 + 192) + 2 * (576 + 1536));
  return (frozen + planOrders(question(changed)).flops) / (frozen + lora);
}

describe("the flop model", () => {
  test("of the 135M model, against LoRA at equal parameters", () => {
    expect(ratio({ compute: "factored" })).toBeCloseTo(1.83, 2);
    expect(ratio({ tokens: 1024 })).toBeCloseTo(1.46, 2);
    expect(ratio({ tokens: 2048 })).toBeCloseTo(1.36, 2);
    expect(ratio({ tokens: 4096 })).toBeCloseTo(1.3, 2);
    expect(ratio({ tokens: 4096, density: 1 / 24 })).toBeLessThan(1.15);
  });

  test("H beats G below M tokens, merged beats factored from Mm/(M + 2m) on", () => {
    const shape = randloraShape(1536, 576, RANK);
    const flops = (order: OrderPlan["order"], tokens: number) =>
      adapterFlops(
        shape,
        { order, kept: true, summed: false },
        { tokens, microBatches: 1, dropout: false, density: 1 },
      );
    expect(flops("merged-h", 1536)).toBe(flops("merged-g", 1536));
    expect(flops("merged-h", 1535)).toBeLessThan(flops("merged-g", 1535));
    const even = (1536 * 576) / (1536 + 2 * 576);
    expect(flops("factored", even)).toBeCloseTo(flops("merged-h", even), -3);
    expect(flops("factored", even - 1)).toBeLessThan(flops("merged-h", even - 1));
  });

  test("few tokens take PEFT's order, more W'; G is summed only over several micro-batches", () => {
    const orders = (changed: Partial<OrdersQuestion>) =>
      planOrders(question({ ...changed, matrices: LAYER })).matrices.map(({ order }) => order);
    expect(orders({ tokens: 64 })).toEqual(["factored", "factored", "factored"]);
    expect(orders({ tokens: 1024 })).toEqual(["merged-g", "merged-h", "merged-h"]);
    expect(orders({ tokens: 4096 })).toEqual(["merged-g", "merged-g", "merged-g"]);
    expect(orders({ tokens: 64, compute: "merged" })).toEqual(["merged-h", "merged-h", "merged-h"]);
    expect(planOrders(question()).matrices.some(({ summed }) => summed)).toBe(false);
    expect(planOrders(question({ microBatches: 8 })).matrices.every(({ summed }) => summed)).toBe(true);
  });
});

describe("memory", () => {
  test("W' of all layers is kept where there is room", () => {
    const plan = planOrders(question());
    expect(plan.matrices.every(({ kept }) => kept)).toBe(true);
    const held = 30 * (960 * 576 + 3072 * 576 + 576 * 1536) * 4;
    expect(plan.bytes).toBeGreaterThan(held);
    expect(plan.bytes).toBeLessThan(1.1 * held);
  });

  test("a smaller budget is kept to, and costs operations", () => {
    for (const microBatches of [1, 4]) {
      for (const dropout of [false, true]) {
        let flops = 0;
        let last = Infinity;
        for (const budget of [Infinity, 4e8, 2e8, 1e8, 5e7, 4e7]) {
          const plan = planOrders(question({ budget, microBatches, dropout }));
          expect(plan.bytes).toBeLessThanOrEqual(budget);
          expect(plan.flops).toBeGreaterThanOrEqual(flops);
          expect(plan.bytes).toBeLessThanOrEqual(last);
          expect(plan.bytes).toBe(orderBytes(MODEL, plan.matrices, question({ dropout })));
          [flops, last] = [plan.flops, plan.bytes];
        }
      }
    }
  });

  test("where nothing fits, the least is taken", () => {
    const least = planOrders(question({ budget: 0 }));
    for (const compute of ["auto", "factored", "merged"] as const) {
      expect(least.bytes).toBeLessThanOrEqual(planOrders(question({ budget: 0, compute })).bytes);
    }
  });
});
