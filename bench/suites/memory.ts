import { recordCopy } from "../../src/compute/tensor/elementwise.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { type Shape, tensorBytes } from "../../src/compute/tensor/tensor.ts";
import type { Suite } from "../suite.ts";

/** 96 MiB: more than caches hold, and no more than every GPU binds at once. */
const SHAPE: Shape = [24 * 1024, 1024];

/** What memory gives at most: a matrix is read, and written elsewhere. */
export const memorySuite: Suite = {
  name: "memory",
  title: "memory, bytes read and written",
  unit: "GB/s",
  async *cases(_, open) {
    using device = await open();
    using run = new Run(device);
    const [x, y] = [run.keep(run.allocate("x", SHAPE)), run.keep(run.allocate("y", SHAPE))];
    device.clear([x.buffer]);
    yield {
      name: "a copy of 96 MiB",
      amount: (2 * tensorBytes(SHAPE, "F32")) / 1e9,
      async run() {
        recordCopy(run, x, y);
        await run.submit();
        await device.idle();
      },
    };
    for (const { buffer } of [x, y]) device.memory.release(buffer);
  },
};
