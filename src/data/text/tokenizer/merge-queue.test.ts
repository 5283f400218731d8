import { expect, test } from "bun:test";
import { MergeQueue } from "./merging.ts";

test("gives the lowest rank first, then the leftmost, however many merges there are", () => {
  const queue = new MergeQueue();
  const positions = 1_000_000;
  const entries: readonly (readonly [rank: number, position: number])[] = [
    [2 ** 24 - 1, 999_998],
    [2 ** 22, 3],
    [2 ** 24 - 1, 999_999],
    [2 ** 22, 2],
    [0, 999_999],
    [2 ** 24 - 1, 999_997],
  ];
  queue.clear(positions);
  for (const [rank, position] of entries) queue.push(rank, position);
  const order: (readonly [number, number])[] = [];
  while (queue.pop()) order.push([queue.rank, queue.position]);
  expect(order).toEqual(entries.toSorted(([a, b], [c, d]) => a - c || b - d));
});
