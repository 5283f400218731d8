import { expect, test } from "bun:test";
import { RunTimes, secondsLeft } from "./measure.ts";

test("runs that are left take what those of their method took, or all where there is none", () => {
  type Runs = Parameters<typeof secondsLeft>;
  const run = (label: string, seed: number) => ({ contender: { label, budget: 10 }, settings: { seed } });
  const result = (method: string, seed: number, seconds: number) => ({ method, budget: 10, seed, seconds });
  const left = (runs: readonly object[], results: readonly object[]) =>
    secondsLeft(runs as unknown as Runs[0], results as unknown as Runs[1]);
  const runs = [0, 1, 2].flatMap((seed) => [run("a", seed), run("b", seed)]);
  expect(left(runs, [])).toBeUndefined();
  expect(left(runs, [result("a", 0, 4)])).toBe(20);
  expect(left(runs, [result("a", 0, 4), result("b", 0, 10)])).toBe(28);
  expect(left(runs.slice(0, 1), [result("a", 0, 4)])).toBeUndefined();

  // A run whose validations took as long as its steps.
  let now = 0;
  const times = new RunTimes(() => now);
  times.begin();
  now = 8000;
  times.end(run("a", 0) as unknown as Runs[0][number]);
  expect(times.left(runs as unknown as Runs[0], [result("a", 0, 4)])).toBe(40);
});
