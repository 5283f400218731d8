// Run by process.test.ts as a process of its own: `bun testing/process.ts MODE`. Prints what it computed.
import type { DeviceBuffer } from "../../device/buffer.ts";
import { RunMemory } from "../../device/run-memory.ts";
import { type Shape, tensorBytes, tensorIn } from "../../device/tensor.ts";
import { read, uploaded } from "../../device/transfer.ts";
import { openDevice } from "../../open-device.ts";
import { CpuDevice } from "../cpu.ts";
import { Heaps } from "../heap.ts";
import { SCRATCH_BYTES } from "../layout.ts";
import { chooseCode } from "../native/choose.ts";

const roundTrip = async (device: CpuDevice, value: number): Promise<number | undefined> =>
  (await read(device, uploaded(device, "value", Uint8Array.of(value, 0, 0, 0))))[0];

/** Sends a command that writes far beyond its buffer. @returns that */
async function trap(device: CpuDevice): Promise<DeviceBuffer> {
  using recording = device.recording(new RunMemory(device));
  const small = tensorIn(device.memory.allocate("small", 64), [1, 4], "F32");
  recording.compute("columnSums", { a: small, y: { ...small, offset: 2 ** 28 } });
  await recording.take().send().catch(String);
  return small.buffer;
}

/** Counts the tokens of more experts than a worker has room for. */
async function overrun(device: CpuDevice): Promise<void> {
  using recording = device.recording(new RunMemory(device));
  const operand = (shape: Shape) =>
    tensorIn(device.memory.allocate("operand", tensorBytes(shape, "U32")), shape, "U32");
  const [experts, places] = [operand([1, 4]), operand([1, 4])];
  recording.compute("expertRows", { experts, places, begins: operand([1, SCRATCH_BYTES / 4 + 4]) });
  await recording.take().send();
}

/** Multiplies `rows` rows. */
async function multiply(device: CpuDevice, rows: number): Promise<void> {
  using recording = device.recording(new RunMemory(device));
  const operand = (rows: number) => tensorIn(device.memory.allocate("operand", rows * 16), [rows, 4], "F32");
  recording.compute("gemm", { order: "NT", a: operand(rows), b: operand(4), y: operand(rows) });
  await recording.take().send();
}

const MODES: Readonly<Record<string, () => Promise<unknown>>> = {
  async closed() {
    const device = await CpuDevice.open({ threads: 2 });
    const value = await roundTrip(device, 7);
    device.close();
    return value;
  },
  /** Work is still on its way when the device goes. */
  async abandoned() {
    using device = await CpuDevice.open({ threads: 2 });
    const buffers = Array.from({ length: 8 }, () => device.memory.allocate("bytes", 2 ** 26));
    for (let at = 0; at < 64; at++) device.clear(buffers);
    device.idle().catch(() => {});
    return "left";
  },
  async thrown() {
    using device = await CpuDevice.open({ threads: 2 });
    device.memory.allocate("too large", device.limits.maxBufferSize + 4);
  },
  async two() {
    const [first, second] = [await CpuDevice.open({ threads: 2 }), await CpuDevice.open({ threads: 1 })];
    const values = await Promise.all([roundTrip(first, 1), roundTrip(second, 2)]);
    first.close();
    const last = await roundTrip(second, 3);
    second.close();
    return [...values, last];
  },
  /** Everybody who waits hears of it, and so does whoever comes later. */
  async trap() {
    using device = await CpuDevice.open({ threads: 2 });
    const waiting = [device.idle(), device.idle()].map((promise) => promise.then(() => undefined, String));
    const spoilt = await trap(device);
    waiting.push(...[device.idle(), read(device, spoilt)].map((promise) => promise.then(() => undefined, String)));
    const words = await Promise.all(waiting);
    return [...new Set([...words.slice(2), await device.idle().catch(String)])];
  },
  async overrun() {
    using device = await CpuDevice.open({ threads: 1 });
    await overrun(device);
    return [await device.idle().catch(String)];
  },
  /** There is no room for another routine of machine code. */
  async crowded() {
    using device = await CpuDevice.open({ threads: 1 });
    const { native } = chooseCode(undefined);
    await multiply(device, 17);
    native?.places.fill(native.bytes, -1);
    await multiply(device, 13).catch(String);
    return [await device.idle().catch(String)];
  },
  /** Where there are addresses for one heap alone: eighths of it that are given away, without the one that others begin. */
  async alone() {
    const heaps = new Heaps({ reserved: 2 ** 16, free: () => Infinity });
    const eighths = Array.from({ length: 7 }, () => heaps.take("an eighth", heaps.heapBytes / 8).block.heap);
    return [...eighths, heaps.memories.length];
  },
  /** Megabytes that the process grows by at most while a large device is there and garbage is made that would be several times as large. */
  async garbage() {
    using device = await CpuDevice.open({ threads: 1 });
    device.memory.allocate("untouched", 2 ** 30);
    await roundTrip(device, 7);
    // What is written again and again takes its memory once.
    const [batch, bytes] = [device.memory.allocate("batch", 2 ** 22), new Uint8Array(2 ** 22)];
    device.write(batch, bytes);
    const before = process.memoryUsage.rss();
    let most = 0;
    for (let made = 0; made < 1000; made++) {
      const pairs = Array.from({ length: 50_000 }, (_, at) => [at, made]);
      device.write(batch, bytes);
      await Bun.sleep(1);
      most = Math.max(most, process.memoryUsage.rss() - before + (pairs[0]?.[0] ?? 0));
    }
    return Math.round(most / 1e6);
  },
  /** The device that is opened where nobody chooses; and whether that loaded the GPU library. */
  async unasked() {
    using device = await openDevice({ threads: 1 });
    return [device.staging.kind, "GPUAdapter" in globalThis];
  },
};

try {
  process.stdout.write(`${JSON.stringify(await MODES[process.argv[2] ?? ""]?.())}\n`);
} catch (error) {
  process.stdout.write(`${String(error)}\n`);
}
