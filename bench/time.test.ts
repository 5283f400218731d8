import { expect, spyOn, test } from "bun:test";
import { time } from "./time.ts";

test("the median of runs after a first one, the fastest, and the median distance from the median", async () => {
  // A clock that stands still but while something runs.
  let now = 0;
  using _ = spyOn(performance, "now").mockImplementation(() => now);
  const seconds = [60, 3, 1, 2];
  let runs = 0;
  const timing = await time(() => {
    now += (seconds[runs++] ?? NaN) * 1000;
  });
  expect(timing).toEqual({ medianSeconds: 2, minSeconds: 1, spreadSeconds: 1, runs: 3 });
});
