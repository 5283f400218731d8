import { expect, test } from "bun:test";
import golden from "../../fixtures/optimizer/optimizer.json" with { type: "json" };
import { learningRateAt, SCHEDULES } from "./schedule.ts";

test.each(golden.rates)("$schedule, warm-up $warmup of $total: transformers' rates", ({ schedule, warmup, ...run }) => {
  const name = SCHEDULES.find((known) => schedule.startsWith(known)) ?? "constant";
  const rates = run.rates.map((_, index) =>
    learningRateAt({ schedule: name, warmup, learningRate: 3e-4 }, index + 1, run.total),
  );
  expect(rates.length).toBe(run.total);
  for (const [index, rate] of rates.entries()) expect(rate).toBeCloseTo(run.rates[index] ?? NaN, 15);
});
