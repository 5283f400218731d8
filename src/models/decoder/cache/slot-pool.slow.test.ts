import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { itemAt } from "../../../files/item-at.ts";
import { RandloraError } from "../../../files/errors.ts";
import { read } from "../../../compute/device/transfer.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { loadConfig } from "../architectures/index.ts";
import type { DecoderConfig } from "../config.ts";
import { convolution } from "../parts.ts";
import { matricesOf } from "../../blocks/sight.ts";
import { mostRows } from "./layer-cache.ts";
import { SlotPool } from "./slot-pool.ts";
import type { Place, Slot } from "./slot.ts";

setDefaultTimeout(120_000);

const WINDOW = 300;

let gpu: Device;
let config: DecoderConfig;
beforeAll(async () => {
  gpu = await openTestDevice();
  const whole = await loadConfig(STORIES);
  // What a convolution keeps is of another width, one matrix, and the last positions alone, as of attention with a window.
  const convolved = [{ before: undefined, mixer: convolution("conv", 40, 3, false) }];
  const narrow = whole.layers[2]?.map((block) => {
    return block.mixer.kind === "attention" ? { ...block, mixer: { ...block.mixer, window: WINDOW } } : block;
  });
  config = { ...whole, layers: [...whole.layers.slice(0, 2), narrow ?? [], convolved] };
});
afterAll(() => gpu.close());

/** Fills positions as a pass would: in every matrix a row of its token's number. */
function fill(pool: SlotPool, slot: Slot, ids: readonly number[], device = gpu): void {
  config.layers.forEach((_, index) => {
    const { matrices, group } = pool.layer(index);
    const { start, first } = itemAt(slot.places, group);
    for (const [which, { buffer, pitch }] of matricesOf(matrices).entries()) {
      const rows = new Float32Array(pitch * ids.length);
      ids.forEach((id, at) => rows.fill(id + 1000 * index + 10_000 * which, at * pitch, (at + 1) * pitch));
      device.write(buffer, rows, (start + slot.length - first) * pitch * 4);
    }
  });
  slot.advance(ids, slot.length + ids.length, true);
}

/** What the rows of a slot hold, of every matrix. */
async function held(pool: SlotPool, slot: Slot, device = gpu): Promise<number[][]> {
  const all = [];
  for (const index of config.layers.keys()) {
    const { matrices, group } = pool.layer(index);
    const { start, first } = itemAt(slot.places, group);
    for (const { buffer, pitch } of matricesOf(matrices)) {
      const rows = new Float32Array((await read(device, buffer)).buffer);
      all.push(Array.from({ length: slot.length - first }, (_, at) => rows[(start + at) * pitch] ?? NaN));
    }
  }
  return all;
}

/** Rows that a slot has not kept, by layer. */
function dropped(pool: SlotPool, slot: Slot): number[] {
  return config.layers.map((_, index) => itemAt(slot.places, pool.layer(index).group).first);
}

function newPool(positions: number, device = gpu): SlotPool {
  return new SlotPool(device, config, { positions, sequences: 8, dtype: "F32" });
}

const wanted = (ids: readonly number[], firsts: readonly number[] = []): number[][] =>
  [[0, 1], [0, 1], [0, 1], [0]].flatMap((matrices, index) =>
    matrices.map((which) => ids.slice(firsts[index] ?? 0).map((id) => id + 1000 * index + 10_000 * which)),
  );

type Action =
  | { readonly kind: "acquire" }
  | { readonly kind: "fill" | "truncate" | "release"; readonly slot: number; readonly count: number }
  | { readonly kind: "swap"; readonly slot: number; readonly count: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("acquire" as const) }),
  fc.record({
    kind: fc.constantFrom("fill" as const, "fill" as const, "truncate" as const, "release" as const, "swap" as const),
    slot: fc.nat(6),
    count: fc.integer({ min: 1, max: 512 }),
  }),
);

test("slots hold what was put into them, however they grow, change places and leave", async () => {
  let [moves, drops] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 25 }), async (actions) => {
      const before = gpu.memory.liveBytes;
      {
        using pool = newPool(6144);
        const slots: { slot: Slot; ids: number[] }[] = [];
        let next = 0;
        for (const one of actions) {
          if (one.kind === "acquire") {
            slots.push({ slot: pool.acquire(), ids: [] });
            continue;
          }
          const chosen = slots[one.slot % Math.max(1, slots.length)];
          if (chosen === undefined) continue;
          const { slot, ids } = chosen;
          if (one.kind === "fill") {
            for (let piece = 0; piece < 4; piece++) {
              const length = slot.length + one.count;
              const others = slots.reduce((sum, other) => sum + (other.slot === slot ? 0 : taken(other.slot)), 0);
              expect(pool.hasRoom(slot, length)).toBe(
                Math.max(taken(slot), Math.ceil(length / 256) * 256) + others <= 6144,
              );
              if (!pool.hasRoom(slot, length)) break;
              const more = Array.from({ length: one.count }, () => next++ % 997);
              const { version } = pool;
              await pool.reserve(slot, length, length + 3 * one.count);
              moves += Number(pool.version !== version);
              fill(pool, slot, more);
              ids.push(...more);
              drops += Number(dropped(pool, slot).some((first) => first > 0));
            }
          } else if (one.kind === "truncate") {
            const left = one.count % 2 === 0 ? one.count : Math.max(0, slot.length - one.count);
            const kept = slot.kept(left);
            if (kept < Math.min(left, slot.length)) continue;
            slot.truncate(left);
            ids.length = kept;
          } else if (one.kind === "release") {
            pool.release(slot);
            slots.splice(slots.indexOf(chosen), 1);
          } else {
            const other = slots[(one.slot + 1) % slots.length] ?? chosen;
            const [mine, theirs] = [slot.length, other.slot.length];
            if (other === chosen || !(await areReserved(pool, [slot, other.slot], Math.max(mine, theirs)))) continue;
            await pool.copy([
              { from: slot, to: other.slot, length: mine },
              { from: other.slot, to: slot, length: theirs },
            ]);
            [chosen.ids, other.ids] = [other.ids.slice(0, theirs), chosen.ids.slice(0, mine)];
          }
        }
        for (const { slot, ids } of slots) {
          const firsts = dropped(pool, slot);
          expect(slot.ids.join()).toBe(ids.join());
          expect((await held(pool, slot)).join()).toBe(wanted(ids, firsts).join());
          expect(slot.kept(slot.length)).toBe(slot.length);
          expect([firsts[0], ...firsts.map((first) => first % 256)]).toEqual([0, 0, 0, 0, 0]);
        }
        for (const group of pool.groups.keys()) checkApart(slots.map(({ slot }) => itemAt(slot.places, group)));
      }
      expect(gpu.memory.liveBytes).toBe(before);
    }),
    { numRuns: 20 },
  );
  expect(moves).toBeGreaterThan(10);
  expect(drops).toBeGreaterThan(10);
});

/** Rows of a slot in layers that keep all positions. */
function taken(slot: Slot): number {
  return itemAt(slot.places, 0).capacity;
}

/** Makes room for so many positions in each of these, one after the other. @returns whether there was */
async function areReserved(pool: SlotPool, slots: readonly Slot[], positions: number): Promise<boolean> {
  for (const slot of slots) {
    if (!pool.hasRoom(slot, positions)) return false;
    await pool.reserve(slot, positions);
  }
  return true;
}

function checkApart(places: readonly Place[]): void {
  const taken = places.filter(({ capacity }) => capacity > 0);
  for (const [index, { start, capacity }] of taken.entries()) {
    expect(start % 256).toBe(0);
    for (const other of taken.slice(index + 1)) {
      expect(start >= other.start + other.capacity || start + capacity <= other.start).toBe(true);
    }
  }
}

describe("a pool", () => {
  test("has no more room than was said, and than can be bound", async () => {
    using pool = newPool(1000);
    expect([pool.mostOf(1), pool.mostOf(2)]).toEqual([1024, 512]);
    const [first, second] = [pool.acquire(), pool.acquire()];
    // What grows takes half of what it has more, as far as that may be needed and others leave it.
    await pool.reserve(first, 300, 1024);
    expect(taken(first)).toBe(512);
    await pool.reserve(first, 513, 1024);
    expect([taken(first), pool.hasRoom(second, 257), pool.hasRoom(second, 256)]).toEqual([768, false, true]);
    await pool.reserve(second, 10, 1024);
    expect([taken(second), pool.hasRoom(first, 769)]).toEqual([256, false]);
    pool.release(second);
    expect([1024, 1025].map((positions) => pool.hasRoom(first, positions))).toEqual([true, false]);
    using huge = newPool(1e9);
    const most = huge.mostOf(1);
    expect(most).toBeLessThanOrEqual(mostRows(gpu.limits, config.layers.slice(0, 1), "F32"));
    for (const { shape } of matricesOf(huge.layer(0).matrices)) {
      expect(most * shape[1] * 4).toBeLessThanOrEqual(gpu.limits.maxBindingSize);
    }
    expect([most, most + 1].map((positions) => huge.hasRoom(huge.acquire(), positions))).toEqual([true, false]);
  });

  test("gives memory back after much longer sequences", async () => {
    using pool = newPool(8192);
    const long = pool.acquire();
    await pool.reserve(long, 8192);
    const { bytes } = pool;
    pool.release(long);
    const short = pool.acquire();
    await pool.reserve(short, 10);
    expect(pool.bytes).toBeLessThan(bytes / 10);
    await expect(pool.reserve(short, 9000)).rejects.toThrow("more positions than there is room for");
  });
});

test("where memory ends while layers move to larger matrices, all is as it was", async () => {
  let grown = Infinity;
  const free = () => (grown-- > 0 ? 2 ** 30 : 0);
  let failed = 0;
  for (let room = 0; ; room++) {
    grown = Infinity;
    using device = await CpuDevice.open({ threads: 1, heaps: { bytes: 2 ** 28, count: 1, free } });
    using pool = newPool(2 ** 17, device);
    const [first, second, third] = [pool.acquire(), pool.acquire(), pool.acquire()];
    await pool.reserve(first, 256);
    await pool.reserve(second, 256);
    fill(pool, first, [5, 6], device);
    fill(pool, second, [7, 8, 9], device);
    // What is before a slot goes: it would lie elsewhere in new matrices.
    pool.release(first);
    const [{ matrices }, { version }] = [pool.layer(0), pool];
    grown = room;
    const found = await pool.reserve(third, 2 ** 16).catch((thrown: unknown) => thrown);
    grown = Infinity;
    expect(await held(pool, second, device)).toEqual(wanted([7, 8, 9]));
    if (pool.layer(0).matrices !== matrices) expect(pool.version).not.toBe(version);
    if (found === undefined) break;
    expect(found).toMatchObject({ code: "memory" });
    failed++;
    await pool.reserve(third, 2 ** 16);
    expect(await held(pool, second, device)).toEqual(wanted([7, 8, 9]));
  }
  // Not only at the first layer.
  expect(failed).toBeGreaterThan(1);
});

test("where neither smaller matrices nor the way back have room, whoever makes room in a slot is told that it is empty", async () => {
  using device = await CpuDevice.open({ threads: 1 });
  using pool = newPool(8192, device);
  const [short, long] = [pool.acquire(), pool.acquire()];
  await pool.reserve(short, 256);
  await pool.reserve(long, 4096);
  fill(pool, short, [5, 6], device);
  pool.release(long);
  const { memory } = device;
  const { allocate, allocateTogether } = memory;
  let asked = 0;
  const limited = <L, R>(make: (label: L, size: number) => R) =>
    function (label: L, size: number): R {
      // The second layer's, and the first one's again.
      if (size === 0 || ![2, 3].includes(++asked)) return make.call(memory, label, size);
      throw new RandloraError("memory", "full", "");
    };
  Object.assign(memory, { allocate: limited(allocate), allocateTogether: limited(allocateTogether) });
  pool.tighten();
  const found = await pool.reserve(short, 3).catch((thrown: unknown) => thrown);
  expect(found).toMatchObject({ code: "memory" });
  Object.assign(memory, { allocate, allocateTogether });
  expect([short.length, short.places[0]?.capacity]).toEqual([0, 0]);
  await pool.reserve(short, 3);
  fill(pool, short, [7, 8, 9], device);
  expect(await held(pool, short, device)).toEqual(wanted([7, 8, 9]));
});
