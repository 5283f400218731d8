import fc from "fast-check";
import { expect, test } from "bun:test";
import { OrderedSteps } from "./tensor-stream.ts";

const pause = (ticks: number): Promise<void> =>
  ticks === 0 ? Promise.resolve() : Promise.resolve().then(() => pause(ticks - 1));

test("steps finish in order, and hold no more bytes than allowed where they are more than two", async () => {
  const step = fc.record({ bytes: fc.nat(10), work: fc.nat(20), write: fc.nat(20) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (list) => {
      const steps = new OrderedSteps(12);
      const written: number[] = [];
      let [held, most, count] = [0, 0, 0];
      for (const [index, { bytes, work, write }] of list.entries()) {
        await steps.add(bytes, async (turn) => {
          held += bytes;
          count += 1;
          if (count > 2) most = Math.max(most, held);
          await pause(work);
          await turn;
          await pause(write);
          written.push(index);
          held -= bytes;
          count -= 1;
        });
      }
      await steps.drain();
      expect(written).toEqual(list.map((_, index) => index));
      expect(most).toBeLessThanOrEqual(12);
    }),
    { numRuns: 100 },
  );
});

test("as many steps run at once as have room, also behind many that have finished", async () => {
  const steps = new OrderedSteps(4);
  let running = 0;
  const beside: number[] = [];
  for (let index = 0; index < 20; index++) {
    await steps.add(1, async (turn) => {
      beside.push(running++);
      await pause(20);
      await turn;
      running--;
    });
  }
  await steps.drain();
  expect(beside.at(-1)).toBe(3);
});

test("the first failure is thrown and nothing after it is written", async () => {
  const steps = new OrderedSteps(100);
  const written: number[] = [];
  for (let index = 0; index < 5; index++) {
    await steps.add(1, async (turn) => {
      await pause(5 - index);
      await turn;
      if (index >= 2) throw new Error(`step ${index}`);
      written.push(index);
    });
  }
  await expect(steps.drain()).rejects.toThrow("step 2");
  await pause(50);
  expect(written).toEqual([0, 1]);
});
