import { expect, test } from "bun:test";
import { type Block, Heaps } from "./heap.ts";
import { MOST_LISTS } from "./layout.ts";
import { ListBlocks } from "./list-blocks.ts";

const [PAGE, SMALL] = [2 ** 16, 1024];

function begin() {
  const heaps = new Heaps({ reserved: PAGE, bytes: 32 * PAGE, count: 1, free: () => Infinity });
  return { heaps, lists: new ListBlocks(heaps) };
}

function taken(block: Block | undefined): Block {
  if (block === undefined) throw new Error("no room");
  return block;
}

test("where all that is free is in use, lists lie where earlier ones have lain, and the heap does not grow", () => {
  const { heaps, lists } = begin();
  const list = taken(lists.take(0, SMALL, 0));
  const { block } = heaps.take("a buffer", 20 * PAGE);
  // Its place is in use up to entry 7, and all that is free around it counts as it does.
  heaps.give(block, 7);
  const { bytes } = heaps;
  lists.give([list]);
  for (let latest = 0; latest < 7; latest++) {
    const next = taken(lists.take(0, SMALL - latest, latest));
    expect(next).toEqual(list);
    lists.give([next]);
  }
  expect(heaps.bytes).toBe(bytes);
});

test("what is kept is there for others where nothing else is", () => {
  const { heaps, lists } = begin();
  lists.give(Array.from({ length: MOST_LISTS + 1 }, () => taken(lists.take(0, SMALL, 0))));
  const all = 31 * PAGE;
  expect(heaps.take("everything", all).block.size).toBe(all);
  expect(lists.take(0, SMALL, 0)).toBeUndefined();
});
