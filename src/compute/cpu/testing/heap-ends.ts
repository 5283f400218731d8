import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Op, Roles } from "../../tensor/op.ts";
import type { OpCase } from "../../tensor/cases/case.ts";
import { computeCase, referenceOf } from "../../tensor/cases/compare.ts";
import { visitOps } from "../../tensor/cases/every-op.ts";
import { CpuDevice } from "../cpu.ts";
import { HEAP_BYTES, wholeLines } from "../heap.ts";
import { FIRST_SCRATCH, SCRATCH_PITCH } from "../layout.ts";
import { cpuBuffer } from "../memory.ts";

const THREADS = 2;
/** Where buffers begin in a heap: whole pages. */
const RESERVED = 2 ** 16 * Math.ceil((FIRST_SCRATCH + THREADS * SCRATCH_PITCH) / 2 ** 16);

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

/** Tests that a buffer which ends with its heap is computed with like any other: each operand of each case of an op that is chosen. */
export function testHeapEnds(isChosen: (index: number) => boolean): void {
  let plain: CpuDevice;
  let full: CpuDevice;
  beforeAll(async () => {
    plain = await CpuDevice.open({ threads: THREADS });
    // It is full of addresses: what nobody writes takes no memory.
    full = await CpuDevice.open({ threads: THREADS, heaps: { free: () => Infinity } });
  });
  afterAll(() => [plain, full].forEach((device) => device.close()));

  visitOps(<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, all: readonly OpCase<I, A>[]) => {
    const cases = all.filter((_, index) => isChosen(index));
    if (cases.length === 0) return;
    // A test that is given up leaves its way of allocating to the others.
    test(`${op.name}: operands that end with their heap`, async () => {
      for (const trial of cases) {
        const reference = referenceOf(op, trial);
        const wanted = await computeCase(op, trial, reference, plain);
        for (let number = 0; ; number++) {
          const { ends, undo } = placeLast(full, number);
          const found = await computeCase(op, trial, reference, full).finally(undo);
          if (number > 0 && ends.length === 0) break;
          expect(ends).toEqual([HEAP_BYTES]);
          expect([trial.name, found]).toEqual([trial.name, wanted]);
        }
      }
    }, 300_000);
  });
}
