import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { RandloraError } from "../../../files/errors.ts";
import { read } from "../../../compute/device/transfer.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { loadConfig } from "../architectures/index.ts";
import type { DecoderConfig } from "../config.ts";
import { convolution } from "../parts.ts";
import { matricesOf, mostRows } from "./layer-cache.ts";
import { SlotPool } from "./slot-pool.ts";
import type { Slot } from "./slot.ts";

setDefaultTimeout(120_000);

let gpu: Device;
let config: DecoderConfig;
beforeAll(async () => {
  gpu = await openTestDevice();
  const whole = await loadConfig(STORIES);
  // What a convolution keeps is of another width, and one matrix.
  const convolved = [{ before: undefined, mixer: convolution("conv", 40, 3, false) }];
  config = { ...whole, layers: [...whole.layers.slice(0, 2), convolved] };
});
afterAll(() => gpu.close());

/** Fills positions as a pass would: in every matrix a row of its token's number. */
function fill(pool: SlotPool, slot: Slot, ids: readonly number[], device = gpu): void {
  config.layers.forEach((_, index) => {
    for (const [which, { buffer, pitch }] of matricesOf(pool.layer(index)).entries()) {
      ids.forEach((id, at) => {
        const row = new Float32Array(pitch).fill(id + 1000 * index + 10_000 * which);
        device.write(buffer, row, (slot.start + slot.length + at) * pitch * 4);
      });
    }
  });
  slot.advance(ids, slot.length + ids.length, true);
}

/** What the rows of a slot hold, of every matrix. */
async function held(pool: SlotPool, slot: Slot, device = gpu): Promise<number[][]> {
  const matrices = config.layers.flatMap((_, index) => matricesOf(pool.layer(index)));
  const all = [];
  for (const { buffer, pitch } of matrices) {
    const rows = new Float32Array((await read(device, buffer)).buffer);
    all.push(Array.from({ length: slot.length }, (_, at) => rows[(slot.start + at) * pitch] ?? NaN));
  }
  return all;
}

const wanted = (ids: readonly number[]): number[][] =>
  [[0, 1], [0, 1], [0]].flatMap((matrices, index) =>
    matrices.map((which) => ids.map((id) => id + 1000 * index + 10_000 * which)),
  );

type Action =
  | { readonly kind: "acquire"; readonly most: number }
  | { readonly kind: "fill" | "truncate" | "release"; readonly slot: number; readonly count: number }
  | { readonly kind: "swap"; readonly slot: number; readonly count: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("acquire" as const), most: fc.integer({ min: 1, max: 900 }) }),
  fc.record({
    kind: fc.constantFrom("fill" as const, "fill" as const, "truncate" as const, "release" as const, "swap" as const),
    slot: fc.nat(6),
    count: fc.integer({ min: 1, max: 300 }),
  }),
);

test("slots hold what was put into them, however they grow, change places and leave", async () => {
  let moves = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 25 }), async (actions) => {
      const before = gpu.memory.liveBytes;
      {
        using pool = new SlotPool(gpu, config, 2048);
        const slots: { slot: Slot; ids: number[] }[] = [];
        let next = 0;
        for (const one of actions) {
          if (one.kind === "acquire") {
            const slot = pool.acquire(one.most);
            const promised = slots.reduce((sum, { slot }) => sum + slot.most, 0);
            expect(slot === undefined).toBe(promised + Math.ceil(one.most / 256) * 256 > 2048);
            if (slot !== undefined) slots.push({ slot, ids: [] });
            continue;
          }
          const chosen = slots[one.slot % Math.max(1, slots.length)];
          if (chosen === undefined) continue;
          const { slot, ids } = chosen;
          if (one.kind === "fill") {
            const more = Array.from({ length: Math.min(one.count, slot.most - slot.length) }, () => next++ % 997);
            const { version } = pool;
            await pool.reserve(slot, slot.length + more.length);
            moves += Number(pool.version !== version);
            fill(pool, slot, more);
            ids.push(...more);
          } else if (one.kind === "truncate") {
            slot.truncate(one.count);
            ids.length = Math.min(ids.length, one.count);
          } else if (one.kind === "release") {
            pool.release(slot);
            slots.splice(slots.indexOf(chosen), 1);
          } else {
            const other = slots[(one.slot + 1) % slots.length] ?? chosen;
            const most = Math.min(slot.most, other.slot.most);
            const [mine, theirs] = [Math.min(slot.length, most), Math.min(other.slot.length, most)];
            if (other === chosen) continue;
            await pool.copy([
              { from: slot, to: other.slot, length: mine },
              { from: other.slot, to: slot, length: theirs },
            ]);
            [chosen.ids, other.ids] = [other.ids.slice(0, theirs), chosen.ids.slice(0, mine)];
          }
        }
        for (const { slot, ids } of slots) {
          expect([...slot.ids]).toEqual(ids);
          expect(await held(pool, slot)).toEqual(wanted(ids));
        }
        const ranges = slots.filter(({ slot }) => slot.capacity > 0).map(({ slot }) => slot);
        for (const [index, { start, capacity }] of ranges.entries()) {
          expect(start % 256).toBe(0);
          for (const other of ranges.slice(index + 1)) {
            expect(start >= other.start + other.capacity || start + capacity <= other.start).toBe(true);
          }
        }
      }
      expect(gpu.memory.liveBytes).toBe(before);
    }),
    { numRuns: 25 },
  );
  expect(moves).toBeGreaterThan(10);
});

describe("a pool", () => {
  test("promises no more than it has, and has no more than can be bound", () => {
    using pool = new SlotPool(gpu, config, 1000);
    expect(pool.most).toBe(1024);
    const first = pool.acquire(600);
    expect([first?.most, pool.acquire(300)]).toEqual([768, undefined]);
    expect(pool.acquire(250)?.most).toBe(256);
    if (first !== undefined) pool.release(first);
    expect(pool.acquire(1e9)).toBeUndefined();
    using huge = new SlotPool(gpu, config, 1e9);
    expect(huge.most).toBeLessThanOrEqual(mostRows(gpu.limits, config, "F32"));
    for (const { shape } of matricesOf(huge.layer(2))) {
      expect(huge.most * shape[1] * 4).toBeLessThanOrEqual(gpu.limits.maxBindingSize);
    }
    expect(huge.acquire(1e9)?.most).toBe(huge.most);
  });

  test("gives memory back after much longer sequences", async () => {
    using pool = new SlotPool(gpu, config, 8192);
    const long = pool.acquire(8192);
    if (long === undefined) throw new Error("no room");
    await pool.reserve(long, 8192);
    const { bytes } = pool;
    pool.release(long);
    const short = pool.acquire(256);
    if (short === undefined) throw new Error("no room");
    await pool.reserve(short, 10);
    expect(pool.bytes).toBeLessThan(bytes / 10);
    await expect(pool.reserve(short, 9000)).rejects.toThrow("more positions than can be promised");
  });
});

test("where memory ends while layers move to larger matrices, all is as it was", async () => {
  let grown = Infinity;
  const free = () => (grown-- > 0 ? 2 ** 30 : 0);
  let failed = 0;
  for (let room = 0; ; room++) {
    grown = Infinity;
    using device = await CpuDevice.open({ threads: 1, heaps: { bytes: 2 ** 28, count: 1, free } });
    using pool = new SlotPool(device, config, 2 ** 17);
    const [first, second, third] = [256, 256, 2 ** 16].map((most) => pool.acquire(most));
    if (first === undefined || second === undefined || third === undefined) throw new Error("no room");
    await pool.reserve(first, 256);
    await pool.reserve(second, 256);
    fill(pool, first, [5, 6], device);
    fill(pool, second, [7, 8, 9], device);
    // What is before a slot goes: it would lie elsewhere in new matrices.
    pool.release(first);
    const [matrices, { version }] = [pool.layer(0), pool];
    grown = room;
    const found = await pool.reserve(third, 2 ** 16).catch((thrown: unknown) => thrown);
    grown = Infinity;
    expect(await held(pool, second, device)).toEqual(wanted([7, 8, 9]));
    if (pool.layer(0) !== matrices) expect(pool.version).not.toBe(version);
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
  using pool = new SlotPool(device, config, 8192);
  const [short, long] = [pool.acquire(512), pool.acquire(4096)];
  if (short === undefined || long === undefined) throw new Error("no room");
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
  expect([short.length, short.capacity]).toEqual([0, 0]);
  await pool.reserve(short, 3);
  fill(pool, short, [7, 8, 9], device);
  expect(await held(pool, short, device)).toEqual(wanted([7, 8, 9]));
});
