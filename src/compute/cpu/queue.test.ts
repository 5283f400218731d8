import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import type { DeviceBuffer } from "../device/device.ts";
import { CpuDevice } from "./cpu.ts";

const BYTES = 4096;
const BUFFERS = 4;

let device: CpuDevice;
beforeAll(async () => {
  device = await CpuDevice.open({ threads: 3 });
});
afterAll(() => device.close());

const buffer = fc.nat({ max: BUFFERS - 1 });
const step = fc.oneof(
  fc.record({ write: buffer, offset: fc.nat({ max: BYTES / 4 - 8 }).map((at) => at * 4), value: fc.nat({ max: 255 }) }),
  fc.record({ from: buffer, to: buffer, size: fc.integer({ min: 1, max: BYTES / 4 }).map((words) => words * 4) }),
  fc.record({ clear: buffer }),
  fc.record({ read: buffer }),
  /** Given back while it may be in use, and taken anew. */
  fc.record({ renew: buffer }),
  /** Nothing is in use then, and a buffer may be written at once while others wait for their turn. */
  fc.record({ idle: fc.constant(true) }),
);

test("writes, copies, clears and reads happen in their order, whatever is waited for", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const model = Array.from({ length: BUFFERS }, () => new Uint8Array(BYTES));
      const take = () => device.memory.allocate("buffer", BYTES);
      const held: DeviceBuffer[] = Array.from({ length: BUFFERS }, take);
      device.clear(held);
      const reads: Promise<void>[] = [];
      const at = <T>(list: readonly T[], index: number): T => {
        const found = list[index];
        if (found === undefined) throw new Error(`no ${index}`);
        return found;
      };
      const read = (index: number) => {
        const wanted = at(model, index).slice();
        const range = { buffer: at(held, index), offset: 0, size: BYTES };
        reads.push(device.readWith([range], async ([bytes]) => expect(bytes).toEqual(wanted)));
      };
      for (const one of steps) {
        if ("write" in one) {
          const bytes = new Uint8Array(29).fill(one.value);
          device.write(at(held, one.write), bytes, one.offset);
          at(model, one.write).set([...bytes, 0, 0, 0], one.offset);
        } else if ("from" in one) {
          device.copy([{ from: at(held, one.from), to: at(held, one.to), size: one.size }]);
          at(model, one.to).set(at(model, one.from).subarray(0, one.size));
        } else if ("clear" in one) {
          device.clear([at(held, one.clear)]);
          at(model, one.clear).fill(0);
        } else if ("read" in one) read(one.read);
        else if ("idle" in one) await device.idle();
        else {
          device.memory.release(at(held, one.renew));
          held[one.renew] = take();
          device.clear([at(held, one.renew)]);
          at(model, one.renew).fill(0);
        }
      }
      for (let index = 0; index < BUFFERS; index++) read(index);
      await Promise.all(reads);
      for (const one of held) device.memory.release(one);
      expect(device.memory.liveBytes).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test("what is written, or given back, behind a read that waits is not there yet", async () => {
  const [one, from, to] = ["one", "from", "to"].map((label) => device.memory.allocate(label, BYTES));
  if (one === undefined || from === undefined || to === undefined) throw new Error("no buffers");
  const read = () =>
    device.readWith([{ buffer: one, offset: 0, size: BYTES }], async ([bytes]) => new Set(bytes?.values()));
  device.write(one, new Uint8Array(BYTES).fill(1));
  device.clear([from, to]);
  await device.idle();
  // The read has to wait for this.
  device.copy([{ from: one, to, size: BYTES }]);
  const first = read();
  device.write(one, new Uint8Array(BYTES).fill(2));
  expect(await first).toEqual(new Set([1]));
  device.copy([{ from: one, to, size: BYTES }]);
  const second = read();
  device.memory.release(one);
  const other = device.memory.allocate("other", BYTES);
  device.write(other, new Uint8Array(BYTES).fill(3));
  expect(await second).toEqual(new Set([2]));
  for (const held of [other, from, to]) device.memory.release(held);
});

test("what is read waits for what uses its buffer, and for nothing else", async () => {
  const size = 2 ** 26;
  const [from, to, one] = [size, size, BYTES].map((bytes) => device.memory.allocate("buffer", bytes));
  if (from === undefined || to === undefined || one === undefined) throw new Error("no buffers");
  device.write(one, new Uint8Array(BYTES).fill(1));
  device.clear([from, to]);
  await device.idle();
  const ended: string[] = [];
  const read = (buffer: DeviceBuffer, name: string) =>
    device.readWith([{ buffer, offset: 0, size: 4 }], async () => void ended.push(name));
  device.copy([{ from, to, size }]);
  await Promise.all([read(to, "copied"), read(one, "other")]);
  expect(ended).toEqual(["other", "copied"]);
  for (const held of [from, to, one]) device.memory.release(held);
});

test("more lists than workers take at once, more than may wait, and more than their counts go up to", async () => {
  const [from, to] = [device.memory.allocate("from", BYTES), device.memory.allocate("to", BYTES)];
  for (let value = 0; value < 300; value++) {
    device.write(from, new Uint8Array(BYTES).fill(value));
    device.copy([{ from, to, size: BYTES }]);
  }
  await device.readWith([{ buffer: to, offset: 0, size: BYTES }], async ([bytes]) =>
    expect(bytes).toEqual(new Uint8Array(BYTES).fill(299)),
  );
  for (const one of [from, to]) device.memory.release(one);
});

test("a device whose heaps are full goes on: commands wait for room, or go some at a time through what is kept for them", async () => {
  const heaps = { bytes: 2 ** 23, count: 2, free: () => Infinity };
  using full = await CpuDevice.open({ threads: 2, heaps });
  const held: DeviceBuffer[] = [];
  for (let size = 2 ** 21; size >= 64; size /= 2) {
    try {
      for (;;) held.push(full.memory.allocate("all", size));
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: "memory" });
    }
  }
  const [first, last] = [held[0], held.at(-1)];
  if (first === undefined || last === undefined) throw new Error("no buffers");
  for (let value = 1; value <= 10; value++) {
    // What each fills lies in the heap that it fills.
    full.clear(held);
    full.write(first, new Uint8Array(64).fill(value));
    const next = held.slice(1);
    const copies = Array.from({ length: 10 }, () => next.map((to, at) => ({ from: held[at] ?? first, to, size: 64 })));
    full.copy(copies.flat());
    await full.readWith([{ buffer: last, offset: 0, size: 64 }], async ([bytes]) =>
      expect(bytes).toEqual(new Uint8Array(64).fill(value)),
    );
  }
  for (const one of held) full.memory.release(one);
});
