import { expect, test } from "bun:test";
import { StageClock } from "./run.ts";

test("stages have no gaps between them, add up to the total, and may be entered again", async () => {
  const clock = new StageClock();
  await Bun.sleep(2);
  clock.end("bases");
  clock.end("gpu");
  await Bun.sleep(2);
  clock.end("bases");
  const { total = 0, bases = 0, gpu = 0, ...others } = clock.stages();
  expect(others).toEqual({});
  expect(bases).toBeGreaterThan(0.003);
  expect(gpu).toBeLessThan(bases);
  expect(total - bases - gpu).toBeWithin(0, 0.01);
});
