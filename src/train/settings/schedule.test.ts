import { expect, test } from "bun:test";
import golden from "../../../fixtures/optimizer/optimizer.json" with { type: "json" };
import { learningRateAt, notesOfWarmup, SCHEDULES } from "./schedule.ts";

test.each(golden.rates)("$schedule, warm-up $warmup of $total: transformers' rates", ({ schedule, warmup, ...run }) => {
  const name = SCHEDULES.find((known) => schedule.startsWith(known)) ?? "constant";
  const rates = run.rates.map((_, index) =>
    learningRateAt({ schedule: name, warmup, learningRate: 3e-4 }, index + 1, run.total),
  );
  expect(rates.length).toBe(run.total);
  for (const [index, rate] of rates.entries()) expect(rate).toBeCloseTo(run.rates[index] ?? NaN, 15);
});

test("a warm-up that the run ends in is told, with the rate that is reached", () => {
  for (const schedule of SCHEDULES) {
    const settings = { schedule, learningRate: 1e-4 };
    expect(notesOfWarmup({ ...settings, warmup: 9 }, 10)).toEqual([]);
    for (const [warmup, highest] of [
      [10, 9e-5],
      [100, 9e-6],
    ] as const) {
      const [note = "", ...others] = notesOfWarmup({ ...settings, warmup }, 10);
      expect(others).toEqual([]);
      expect(note).toContain(`--warmup ${warmup}: the run has 10 steps`);
      expect(note).toContain(`ends at ${highest} and never reaches 0.0001`);
    }
  }
});
