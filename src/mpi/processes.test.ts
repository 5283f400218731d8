import { expect, test } from "bun:test";
import fc from "fast-check";
import { ALONE, EndedByOther, firstThenOthers, gatherNumbers, isAny, ownRange } from "./processes.ts";
import { together } from "./testing/together.ts";

test("ranges are in order, without gaps, and differ by one piece of work at most", () => {
  fc.assert(
    fc.property(fc.nat(100), fc.integer({ min: 1, max: 16 }), (count, size) => {
      const ranges = Array.from({ length: size }, (_, rank) => ownRange({ ...ALONE, rank, size }, count));
      expect([ranges[0]?.[0], ranges.at(-1)?.[1]]).toEqual([0, count]);
      for (const [rank, [from, end]] of ranges.entries()) {
        expect(ranges[rank + 1]?.[0] ?? end).toBe(end);
        expect([Math.floor(count / size), Math.ceil(count / size)]).toContain(end - from);
      }
    }),
    { seed: 1 },
  );
});

test("numbers of all come by rank, whatever they are", async () => {
  const own = [[1.5, NaN], [], [-0, Infinity]];
  const all = together(3).map((processes, rank) => gatherNumbers(processes, own[rank] ?? []));
  for (const numbers of await Promise.all(all)) expect(numbers).toEqual([1.5, NaN, -0, Infinity]);
  expect(await gatherNumbers(ALONE, [2])).toEqual([2]);
});

test("the others begin when the first one is done", async () => {
  const done: number[] = [];
  const all = together(3).map((processes) =>
    firstThenOthers(processes, async () => {
      if (processes.rank === 0) await Bun.sleep(5);
      done.push(processes.rank);
    }),
  );
  await Promise.all(all);
  expect(done[0]).toBe(0);
  expect(done.toSorted()).toEqual([0, 1, 2]);
});

test("who fails says why; the lowest where several do, and all others end", async () => {
  const [first, second, third] = together(3);
  const wrong = new Error("wrong");
  const said = await Promise.all([
    first === undefined ? true : isAny(first, false).catch((thrown: unknown) => thrown),
    second?.failed(wrong),
    third?.failed(new Error("wrong, too")),
  ]);
  expect(said).toEqual([expect.any(EndedByOther), wrong, expect.any(EndedByOther)]);
});
