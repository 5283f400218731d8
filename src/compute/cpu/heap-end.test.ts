import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { visitOps } from "../tensor/cases/every-op.ts";
import { CpuDevice } from "./cpu.ts";
import { HEAP_BYTES, wholeLines } from "./heap.ts";
import { FIRST_SCRATCH, SCRATCH_PITCH } from "./layout.ts";
import { cpuBuffer } from "./memory.ts";
import { resultsOf, slopesOf } from "./testing/ops.ts";

// A test that is given up leaves its way of allocating to the others.
setDefaultTimeout(60_000);

const THREADS = 2;
/** Where buffers begin in a heap: whole pages. */
const RESERVED = 2 ** 16 * Math.ceil((FIRST_SCRATCH + THREADS * SCRATCH_PITCH) / 2 ** 16);

let plain: CpuDevice;
let full: CpuDevice;
beforeAll(async () => {
  plain = await CpuDevice.open({ threads: THREADS });
  // It is full of addresses: what nobody writes takes no memory.
  full = await CpuDevice.open({ threads: THREADS, heaps: { free: () => Infinity } });
});
afterAll(() => [plain, full].forEach((device) => device.close()));

/** Has the operand of this number made at the end of the second heap; returns where it ends, and what undoes that. */
function placeLast({ memory }: CpuDevice, number: number) {
  const allocate = memory.allocate.bind(memory);
  const ends: number[] = [];
  let next = 0;
  memory.allocate = (label, size, heap) => {
    if (label !== "operand" || next++ !== number) return allocate(label, size, heap ?? 0);
    const rest = HEAP_BYTES - RESERVED - wholeLines(size);
    const fillers = [rest - 2 ** 30, 2 ** 30].map((bytes) => allocate("filler", bytes, 1));
    const last = allocate(label, size, 1);
    for (const filler of fillers) memory.release(filler);
    const { block } = cpuBuffer(last);
    ends.push(block === undefined ? 0 : block.at + block.size);
    return last;
  };
  return { ends, undo: () => void (memory.allocate = allocate) };
}

describe("a buffer that ends with its heap is computed with like any other", () => {
  visitOps((op, cases) => {
    test(op.name, async () => {
      for (const trial of cases) {
        const slopes = slopesOf(op, trial);
        const wanted = await resultsOf(plain, op, trial, slopes);
        for (let number = 0; ; number++) {
          const { ends, undo } = placeLast(full, number);
          const found = await resultsOf(full, op, trial, slopes).finally(undo);
          if (number > 0 && ends.length === 0) break;
          expect(ends).toEqual([HEAP_BYTES]);
          expect([trial.name, found]).toEqual([trial.name, wanted]);
        }
      }
    });
  });
});
