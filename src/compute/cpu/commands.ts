import type { Copy } from "../device/device.ts";
import { COPY_PIECE } from "./layout.ts";
import { cpuBuffer } from "./memory.ts";
import type { Pointer } from "./operands.ts";
import type { CpuKernel, Members, PlacedPointer } from "./parameters.ts";

/** What workers do in one go; all that it works on lies in one heap, unless it is a copy. */
export interface CpuCommand {
  readonly kernel: CpuKernel<Members> | "copy" | "fill";
  /** Parameters; those of addresses hold the offset in their buffer. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly pointers: readonly PlacedPointer[];
  readonly pieces: number;
}

/** Copies bytes, perhaps to another heap. The words are those of COPY without the heaps. */
export function copyCommand(from: Pointer, to: Pointer): CpuCommand {
  return {
    kernel: "copy",
    words: Uint32Array.of(from.offset, to.offset, from.size),
    pointers: [
      { ...from, word: 0 },
      { ...to, word: 1 },
    ],
    pieces: Math.ceil(from.size / COPY_PIECE),
  };
}

/** A copy between buffers as a command. */
export function copyBetween({ from, to, fromOffset = 0, toOffset = 0, size }: Copy): CpuCommand {
  return copyCommand(
    { buffer: from, offset: fromOffset, size, access: "read" },
    { buffer: to, offset: toOffset, size, access: "write" },
  );
}

/** Zeros; the words are those of FILL. */
export function fillCommand(target: Pointer): CpuCommand {
  return {
    kernel: "fill",
    words: Uint32Array.of(target.offset, target.size),
    pointers: [{ ...target, word: 0 }],
    pieces: Math.ceil(target.size / COPY_PIECE),
  };
}

/** The heap that a pointer leads to. */
export function heapOf({ buffer }: Pointer): number {
  return cpuBuffer(buffer).block?.heap ?? 0;
}
