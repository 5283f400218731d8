import { expect, test } from "bun:test";
import { RunTime } from "./display.ts";

test("the time left has the validations and saves that are to come", () => {
  let now = 0;
  const time = new RunTime({ step: 0, steps: 10, validateEvery: 4 }, () => now);
  const pause = (what: "validating" | "saving", seconds: number) => {
    time.begin();
    now += seconds * 1000;
    time.end(what);
  };
  pause("saving", 7);
  pause("validating", 20);
  time.step({ step: 1, seconds: 9 });
  expect(time.left).toBeUndefined();
  time.step({ step: 2, seconds: 1 });
  // Eight steps, and validations after steps 4, 8 and 10.
  expect([time.left, time.whole]).toEqual([8 + 3 * 20, 10 + 3 * 20]);
  for (const step of [3, 4]) time.step({ step, seconds: 5 });
  pause("validating", 30);
  expect(time.left).toBeCloseTo((6 * 11) / 3 + 2 * 30);
  // A tenth of the time went into saves.
  pause("saving", 5);
  expect(time.left).toBeCloseTo(((6 * 11) / 3 + 2 * 30) * 1.1);
  for (let step = 5; step <= 8; step++) time.step({ step, seconds: 1 });
  pause("validating", 30);
  for (const step of [9, 10]) time.step({ step, seconds: 1 });
  // The last validation has not ended yet.
  expect(time.left).toBeGreaterThan(30);
  pause("validating", 30);
  expect(time.left).toBe(0);
});
