import { expect, test } from "bun:test";
import { forgettingChart, forgettingPage } from "./forgetting-page.ts";
import { atLoss, type ForgettingRecord } from "./forgetting-record.ts";

type Run = ForgettingRecord["runs"][number];

function run(configuration: string, rate: number, seed: number, loss: number, forgetting: number): Run {
  return { configuration, rate, seed, loss, forgetting, error: 0.01, change: forgetting / 2, parameters: 100 };
}

const curve = [run("lora", 1e-3, 0, 3, 0.2), run("lora", 3e-3, 0, 2, 0.4), run("lora", 1e-2, 0, 1, 1)];

test("forgetting is read where the loss is, between two rates in proportion, in any order of the runs", () => {
  expect(atLoss(curve, 2.5, "forgetting")).toBeCloseTo(0.3, 12);
  expect(atLoss(curve.toReversed(), 1.5, "forgetting")).toBeCloseTo(0.7, 12);
  expect(atLoss(curve, 1.5, "change")).toBeCloseTo(0.35, 12);
  expect(atLoss(curve, 3, "forgetting")).toBe(0.2);
});

test("a loss that the rates do not come to has no forgetting, and none is read behind the lowest loss", () => {
  expect(atLoss(curve, 3.1, "forgetting")).toBeUndefined();
  expect(atLoss(curve, 0.9, "forgetting")).toBeUndefined();
  const worse = [...curve.slice(0, 2), run("lora", 1e-2, 0, 2.5, 3)];
  expect(atLoss(worse, 2.2, "forgetting")).toBeCloseTo(0.36, 12);
  expect(atLoss(worse, 1.9, "forgetting")).toBeUndefined();
});

test("what is said follows from the runs", () => {
  const runs = [0, 1, 2].flatMap((seed) => {
    const own = curve.map((one) => ({ ...one, seed, forgetting: one.forgetting + 0.01 * seed }));
    const other = own.map((one) => ({ ...one, configuration: "randlora-20", forgetting: 2 * one.forgetting }));
    return [...own, ...other];
  });
  const record: ForgettingRecord = {
    date: "2026-01-01",
    machine: "a machine",
    commit: "abc",
    command: "bun x",
    title: "a model",
    steps: 1,
    batch: 1,
    texts: 2,
    at: [2, 0.5],
    before: 4,
    runs,
    noise: runs.slice(0, 2),
    processor: 60,
  };
  const page = forgettingPage({ small: record });
  expect(page).toContain("| LoRA, α = 2 r | 0.20 | 0.41 ± 0.01 | – |");
  expect(page).toContain("| RandLoRA, α = 20 r | 0.20 | 0.82 ± 0.02 | – |");
  // Differences 0.4, 0.41, 0.42: Student's t of two degrees of freedom is 4.303.
  expect(page).toContain("RandLoRA forgets more than LoRA: **holds**. 0.39 … 0.43 at loss 2.");
  const turned = runs.map((one) => ({ ...one, configuration: one.configuration === "lora" ? "randlora-20" : "lora" }));
  expect(forgettingPage({ small: { ...record, runs: turned } })).toContain(
    "**does not: less**. −0.43 … −0.39 at loss 2.",
  );
  expect(`${page}${forgettingChart(record)}`).not.toContain("NaN");
});
