import { expect, test } from "bun:test";
import { SaveClock } from "./record.ts";

test("a state is due a minute after the last one, and later where saving takes more than 3 % of the time", async () => {
  let now = 0;
  const clock = new SaveClock(() => now);
  const dueAfter = () => {
    const from = now;
    while (!clock.isDue) now += 1000;
    return (now - from) / 1000;
  };
  expect(dueAfter()).toBe(60);
  await clock.time(async () => {
    now += 1000;
  });
  expect(dueAfter()).toBe(60);
  await clock.time(async () => {
    now += 10_000;
  });
  expect(dueAfter()).toBe(320);
});
