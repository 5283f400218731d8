import type { CpuDevice } from "../cpu.ts";

/** Has every buffer made in another heap than the one before. */
export function scatter({ memory }: CpuDevice): void {
  const allocate = memory.allocate.bind(memory);
  let next = 0;
  memory.allocate = (label, size, heap = next++ % 3) => allocate(label, size, heap);
}
