import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Block, Heaps } from "./heap.ts";

const MIB = 2 ** 20;
const RESERVED = 2 ** 16;
const small = (free = () => Infinity) => new Heaps({ reserved: RESERVED, bytes: 4 * MIB, count: 3, free });

/** A block, and the last entry of the queue that uses it. */
type Used = Block & { readonly busy: number };

/** What a test does: takes so many bytes, or gives one of the blocks back, used up to an entry of the queue. */
const step = fc.oneof(
  fc.record({ size: fc.nat({ max: MIB }), latest: fc.option(fc.nat({ max: 10 }), { nil: undefined }) }),
  fc.record({ give: fc.nat(), busy: fc.nat({ max: 10 }) }),
);

test("no two blocks overlap, whatever is given back; a block is as free as was asked for", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const heaps = small();
      const live: Used[] = [];
      /** What was given back. */
      const past: Used[] = [];
      for (const one of steps) {
        if ("give" in one) {
          const [block] = live.splice(one.give % Math.max(1, live.length), 1);
          if (block === undefined) continue;
          const busy = Math.max(one.busy, block.busy);
          heaps.give(block, busy);
          past.push({ ...block, busy });
          continue;
        }
        const { size, latest = Infinity } = one;
        let taken;
        try {
          taken = heaps.take("block", size, { latest });
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "memory" });
          continue;
        }
        const { block, busy } = taken;
        expect(block.size).toBeGreaterThanOrEqual(size);
        expect(block.at % 64).toBe(0);
        expect(block.at).toBeGreaterThanOrEqual(RESERVED);
        expect(block.at + block.size).toBeLessThanOrEqual(heaps.memories[block.heap]?.buffer.byteLength ?? 0);
        expect(live.filter((other) => overlap(block, other))).toEqual([]);
        const used = past.filter((other) => overlap(block, other)).map((other) => other.busy);
        expect(busy).toBeGreaterThanOrEqual(Math.max(0, ...used));
        expect(busy <= latest).toBe(true);
        live.push({ ...block, busy });
      }
    }),
    { numRuns: 60 },
  );
});

function overlap(one: Block, other: Block): boolean {
  return one.heap === other.heap && one.at < other.at + other.size && other.at < one.at + one.size;
}

test("what was given back in any order is one piece again", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }), (order) => {
      const heaps = new Heaps({ reserved: RESERVED, bytes: 4 * MIB, count: 1, free: () => Infinity });
      const sizes = [64, 1000, MIB / 2, 4096, 640, MIB];
      const blocks = sizes.map((size) => heaps.take("block", size).block);
      const grown = heaps.memories[0]?.buffer.byteLength;
      for (const index of order) {
        const block = blocks[index];
        if (block !== undefined) heaps.give(block, 0);
      }
      const whole = blocks.reduce((sum, { size }) => sum + size, 0);
      const { block } = heaps.take("whole", whole);
      expect([block.at, block.size]).toEqual([RESERVED, whole]);
      expect(heaps.memories[0]?.buffer.byteLength).toBe(grown ?? 0);
    }),
  );
});

test("large buffers leave the end of the first heap to small ones, and go to the next", () => {
  const heaps = small();
  const large = Array.from({ length: 4 }, () => heaps.take("large", 1.25 * MIB).block);
  expect(large.map(({ heap }) => heap)).toEqual([0, 0, 1, 1]);
  expect(heaps.take("small", 4096).block.heap).toBe(0);
  expect(heaps.take("asked for", 4096, { heap: 2 }).block.heap).toBe(2);
});

test("what the machine has no room for is refused with words, and nothing has changed", () => {
  let free = MIB;
  const heaps = small(() => free);
  const { block } = heaps.take("first", MIB / 2);
  heaps.give(block, 0);
  // However much of what the heap has grown by was written meanwhile, which is read off the whole process.
  free = MIB / 4;
  expect(() => heaps.take("the logits", 2 * MIB)).toThrow(
    expect.objectContaining({
      code: "memory",
      message: expect.stringMatching(/^the logits: the machine has no room for 2\.0 MiB beside \d\.\d MiB in use$/),
      hint: expect.stringContaining("--batch-size"),
    }),
  );
  free = 8 * MIB;
  expect(heaps.take("the logits", 2 * MIB).block.size).toBe(2 * MIB);
});

test("more than all heaps hold is refused", () => {
  const heaps = small();
  expect(() => heaps.take("too much", 5 * MIB)).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(/^too much: 5\.0 MiB beside .* in use: the CPU device holds \d+\.\d MiB at most$/),
      hint: expect.not.stringContaining("close other programs"),
    }),
  );
});

test("as much as one buffer may have, it gets", () => {
  for (const count of [1, 3]) {
    const heaps = new Heaps({ reserved: RESERVED, bytes: 4 * MIB, count, free: () => Infinity });
    expect(heaps.take("largest", heaps.mostBytes).block.size).toBe(heaps.mostBytes);
    expect(heaps.mostBytes).toBeGreaterThan(3 * MIB);
  }
});

test("a memory is made when the first buffer goes there, and whoever uses it is told before", () => {
  const heaps = small();
  const told: WebAssembly.Memory[] = [];
  heaps.onMemory = (memory) => told.push(memory);
  heaps.take("small", 4096);
  expect(heaps.memories.length).toBe(1);
  const large = Array.from({ length: 3 }, () => heaps.take("large", 1.25 * MIB).block.heap);
  expect(large).toEqual([0, 0, 1]);
  expect(heaps.memories.length).toBe(2);
  heaps.take("asked for", 4096, { heap: 2 });
  expect(told).toEqual(heaps.memories.slice(1));
  expect(() => heaps.take("beyond", 4096, { heap: 3 })).toThrow("at most");
  expect(heaps.memories.length).toBe(3);
});

test("what is closed holds no memory, and gets none", () => {
  const heaps = small();
  heaps.take("block", MIB);
  heaps.close();
  expect(heaps.memories).toEqual([]);
  expect(() => heaps.take("block", 64)).toThrow("block: the CPU device was closed");
  expect(heaps.memories).toEqual([]);
});
