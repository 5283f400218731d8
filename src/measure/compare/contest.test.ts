import { describe, expect, test } from "bun:test";
import type { TrainSettings } from "../../train/settings/settings.ts";
import { contests, summaries } from "./contest.ts";
import { measure } from "./measure.ts";
import type { RunResult } from "./options.ts";
import type { Comparison } from "./types.ts";

// Contests read names, budgets and seeds alone.
const NO_SETTINGS = {} as TrainSettings;

interface Made {
  readonly losses: readonly (number | null)[];
  readonly valid?: readonly number[];
  readonly parameters?: number;
  readonly budget?: number | null;
}

/** A comparison with a budget of 100, and what its methods came to, seed by seed. */
function compared(methods: Readonly<Record<string, Made>>, seeds = 3): [Comparison, RunResult[]] {
  const contenders = Object.entries(methods).map(([label, { budget = 100 }]) => ({
    label,
    budget,
    settings: NO_SETTINGS,
  }));
  const results = Object.entries(methods).flatMap(([method, { losses, valid, parameters = 100, budget = 100 }]) =>
    losses.map((loss, seed): RunResult => ({
      method,
      budget,
      seed,
      parameters,
      steps: 4,
      loss,
      accuracy: null,
      seconds: 2,
      peak_bytes: 10 + seed,
      valid_loss: valid?.[seed] ?? null,
      best_valid_loss: valid?.[seed] ?? null,
      error: loss === null ? "diverged" : null,
    })),
  );
  // In whatever order they were made.
  return [
    { budgets: [100], like: null, contenders, seed: 0, seeds, looks: [], forgetting: 0, dropped: [] },
    results.toReversed(),
  ];
}

function judged(methods: Readonly<Record<string, Made>>, seeds = 3) {
  return contests(...compared(methods, seeds))[0];
}

describe("the winner", () => {
  test("is the lowest mean, where seed by seed it is lower than each other", () => {
    // The seeds scatter by 1, the methods differ by 0.1 in each: unpaired that would be nothing.
    const won = judged({ a: { losses: [1.1, 2.11, 3.09] }, b: { losses: [1, 2, 3] }, c: { losses: [2, 3.1, 3.9] } });
    expect(won).toMatchObject({ budget: 100, judged_by: "loss", winner: "b", among: ["b", "a", "c"] });
    expect(won?.reason).toStartWith("0.100 lower than a; lower than each other one with p < 0.027");
  });

  test("is nobody where the spread does not allow it", () => {
    const open = judged({ a: { losses: [1, 2, 3] }, b: { losses: [1.1, 1.9, 3.2] } });
    expect(open?.winner).toBeNull();
    expect(open?.reason).toStartWith("a has the lowest mean, but its distance to b may be chance (p = 0.53");
    expect(open?.reason).toEndWith("would tell): if it is real, about 74 seeds would tell");
  });

  test("needs a stricter test among more methods", () => {
    // t = 0.1 / (0.03 / √3) = 5.77, p = 0.0287: enough between two, not among four.
    const [a, b] = [{ losses: [1, 1, 1] }, { losses: [1.07, 1.1, 1.13] }];
    expect(judged({ a, b })?.winner).toBe("a");
    const far = { losses: [9, 9, 9] };
    expect(judged({ a, b, c: far, d: far })).toMatchObject({
      winner: null,
      reason: expect.stringContaining("0.02 would"),
    });
  });

  test("of a swept method is one of its values, which are no rivals of each other, but count", () => {
    const losses = [1, 2, 3];
    const [same, worse] = [{ losses: [1.01, 1.98, 3.02] }, { losses: [2, 3.1, 3.9] }];
    const found = judged({ "a@1e-4": { losses }, "a@3e-4": same, b: worse });
    expect(found).toMatchObject({ winner: "a@1e-4", among: ["a@1e-4", "a@3e-4", "b"] });
    expect(found?.reason).toStartWith("1.00 lower than b; lower than each of other methods with p < 0.027");
    // Alone they are.
    expect(judged({ "a@1e-4": { losses }, "a@3e-4": same })?.winner).toBeNull();
    expect(judged({ "a@1e-4": { losses }, "a@3e-4": worse })?.winner).toBe("a@1e-4");
  });

  test("needs a stricter one at several budgets, after a method was left out, and after each look at the results", () => {
    const [comparison, results] = compared({ a: { losses: [1, 1, 1] }, b: { losses: [1.07, 1.1, 1.13] } });
    const reason = (more: Partial<Comparison>) => contests({ ...comparison, ...more }, results)[0]?.reason;
    expect(reason({})).toEndWith("p < 0.04");
    expect(reason({ budgets: [100, 200] })).toContain("below 0.02 would tell");
    expect(reason({ dropped: ["c"] })).toContain("below 0.027 would tell");
    // What all looks spend is 5 %: 0.8, 0.1, 0.05 … of it.
    expect(reason({ looks: [2] })).toContain("below 0.005 would tell");
    expect(reason({ looks: [2, 3] })).toContain("below 0.0025 would tell");
  });

  test("is judged by the validation loss where there is one", () => {
    const won = judged({
      a: { losses: [1, 1, 1], valid: [3, 3.1, 3.2] },
      b: { losses: [2, 2, 2], valid: [2, 2.1, 2.2] },
    });
    expect(won).toMatchObject({ judged_by: "best_valid_loss", winner: "b" });
  });

  test("is not told from one seed, nor before all runs are done", () => {
    expect(judged({ a: { losses: [1] }, b: { losses: [2] } }, 1)?.reason).toBe("one seed says nothing of the spread");
    expect(judged({ a: { losses: [1, 1, 1] }, b: { losses: [2, 2] } })?.reason).toBe("not all runs are done");
  });

  test("is not the reference, nor one that trains much more or less, or that diverged", () => {
    const best = { losses: [0.1, 0.1, 0.1] };
    const others = { b: { losses: [2, 2.1, 2.2] }, c: { losses: [3, 3.1, 3.2] } };
    expect(judged({ full: { ...best, budget: null }, ...others })?.winner).toBe("b");
    expect(judged({ a: { ...best, parameters: 126 }, ...others })).toMatchObject({ winner: "b", left_out: ["a"] });
    expect(judged({ a: { ...best, parameters: 74 }, ...others })?.winner).toBe("b");
    expect(judged({ a: { ...best, parameters: 125 }, ...others })?.winner).toBe("a");
    expect(judged({ a: { losses: [0.1, null, 0.1] }, ...others })?.winner).toBe("b");
    expect(judged({ a: best, b: { losses: [null, 1, 1] } })?.reason).toStartWith("a alone came near the budget");
    expect(judged({ a: { losses: [null, 1, 1] } })?.reason).toStartWith("no method came near");
  });
});

test("means are over the seeds; of a method that diverged there are none", () => {
  const [good, bad, full] = summaries(
    ...compared({
      good: { losses: [1, 2, 3], valid: [4, 4, 4], parameters: 90 },
      bad: { losses: [1, null, 3] },
      full: { losses: [1, 1, 1], parameters: 1e6, budget: null },
    }),
  );
  expect(good).toMatchObject({
    method: "good",
    parameters: 90,
    distance: -0.1,
    runs: 3,
    failed: 0,
    peak_bytes: 12,
    loss: {
      mean: 2,
      deviation: 1,
    },
    valid_loss: {
      mean: 4,
      deviation: 0,
    },
    accuracy: null,
  });
  expect(bad).toMatchObject({ runs: 3, failed: 1, loss: null, valid_loss: null });
  expect(full).toMatchObject({ budget: null, distance: null, parameters: 1e6 });
});

test("a run's loss is the mean over the last quarter of its steps", () => {
  const step = (at: number, loss: number) => {
    return { step: at, loss, learning_rate: 0, grad_norm: 0, tokens: 1, seconds: 0.5 };
  };
  const metrics = [
    { step: 0, valid_loss: 5 },
    ...[9, 8, 7, 6].map((loss, at) => step(at + 1, loss)),
    { step: 4, valid_loss: 3 },
    step(5, 2),
    { step: 5, valid_loss: 4, valid_accuracy: 0.75 },
  ];
  expect(measure(metrics)).toEqual({
    steps: 5,
    loss: (6 + 2) / 2,
    valid_loss_before: 5,
    valid_loss: 4,
    best_valid_loss: 3,
    accuracy: 0.75,
    seconds: 2.5,
  });
  expect(measure(metrics.slice(0, 5))).toMatchObject({ steps: 4, loss: 6, accuracy: null });
  expect(measure([])).toMatchObject({ steps: 0, loss: null, valid_loss: null, best_valid_loss: null, seconds: 0 });
});
