// Run by process.test.ts as a process of its own: `bun testing/process.ts MODE`. Prints what it computed.
import { Gpu } from "../gpu.ts";
import { read, uploaded } from "../../device/transfer.ts";

const roundTrip = async (gpu: Gpu, value: number): Promise<number | undefined> =>
  (await read(gpu, uploaded(gpu, "value", Uint8Array.of(value, 0, 0, 0))))[0];

const MODES: Readonly<Record<string, () => Promise<unknown>>> = {
  async closed() {
    const gpu = await Gpu.open();
    const value = await roundTrip(gpu, 7);
    gpu.close();
    return value;
  },
  /** Work is still on its way when the device goes. */
  async abandoned() {
    using gpu = await Gpu.open();
    uploaded(gpu, "bytes", new Uint8Array(2 ** 24));
    gpu.idle().catch(() => {});
    return "left";
  },
  async thrown() {
    using gpu = await Gpu.open();
    gpu.memory.allocate("too large", gpu.limits.maxBufferSize + 4);
  },
  async two() {
    const first = await Gpu.open();
    using second = await Gpu.open();
    const values = await Promise.all([roundTrip(first, 1), roundTrip(second, 2)]);
    first.close();
    return [...values, await roundTrip(second, 3)];
  },
  async again() {
    const values: unknown[] = [];
    for (let i = 0; i < 5; i++) {
      using gpu = await Gpu.open();
      values.push(await roundTrip(gpu, i));
    }
    return values;
  },
};

try {
  process.stdout.write(`${JSON.stringify(await MODES[process.argv[2] ?? ""]?.())}\n`);
} catch (error) {
  process.stdout.write(`${String(error)}\n`);
}
