import type { SharedCode } from "./native/on-demand.ts";

/** Words of the block through which the host and the workers talk, an Int32Array. */
export const CONTROL = {
  /** Lists that were sent, and lists that have run, from FIRST_COUNT on. */
  sent: 0,
  done: 1,
  /** Commands, or what stands for one (`COMMAND.together`), that all workers have finished, from there on; workers that have finished the next. */
  finished: 2,
  arrived: 3,
  /** 1 once a worker has failed, or workers shall end: commands are skipped from then on. */
  failed: 4,
  /** 1 once workers shall end. */
  closed: 5,
  /** Heaps that there are: a worker that knows fewer waits for a message with the others before its next list. */
  heaps: 6,
  /** The last lists: where in heap 0 each begins, and its commands. */
  lists: 16,
} as const;

/** Lists that wait for workers at most: a power of two, so that their places go on where a count wraps. */
export const MOST_LISTS = 32;
export const CONTROL_BYTES = (CONTROL.lists + 2 * MOST_LISTS) * 4;

/** Where `sent`, `done` and `finished` start. They wrap in 32 bits; every device is soon there, not only those that run for days. */
export const FIRST_COUNT = 2 ** 31 - 100;

/** The word of the control block from which on it says where list number `count` is. */
export function slotOf(count: number): number {
  return CONTROL.lists + 2 * (count & (MOST_LISTS - 1));
}

/** Words of a command in a list. */
export const COMMAND = {
  /** Number in `WorkerStart.kernels`, or one of the two that are no kernels. */
  kernel: 0,
  heap: 1,
  /** Where its parameters are, in its heap. */
  parameters: 2,
  pieces: 3,
  /** Pieces that have been taken. */
  taken: 4,
  /** What the slowest worker took for its pieces, in ticks; where workers measure. */
  ticks: 5,
  /** From this one on so many commands of one piece each, which the worker that takes the first runs one after the other; otherwise 1. */
  together: 6,
} as const;
export const COMMAND_WORDS = 7;
export const TICKS_A_SECOND = 1e7;

/** Parameters of a copy, which may lead from heap to heap, in heap 0. */
export const COPY = { fromHeap: 0, from: 1, toHeap: 2, to: 3, bytes: 4 } as const;
export const COPY_WORDS = 5;
/** Parameters of a fill with zeros, in its heap. */
export const FILL = { at: 0, bytes: 1 } as const;
/** Bytes of a piece of either. */
export const COPY_PIECE = 2 ** 18;

/** The begin of each heap: what commands go through, some at a time, where there is no room for a list. Address 0 is nothing's. */
export const SPARE = { at: 64, bytes: 2 ** 14 } as const;
/** Scratch of a worker in each heap that it computes in, which `assembly/normed-rows.ts` fills. */
export const SCRATCH_BYTES = 2 ** 20;
/** Words behind it that no kernel may write, which hold FENCE: what is written beyond a worker's scratch is another's, or a buffer. */
export const FENCE_WORDS = 16;
export const FENCE = 0x5fe4ce;
/** Where the first worker's is, and from one's to the next one's. */
export const FIRST_SCRATCH = SPARE.at + SPARE.bytes;
export const SCRATCH_PITCH = SCRATCH_BYTES + 4 * FENCE_WORDS;

/** A heap that was made after a worker had been started. */
export interface WorkerHeap {
  readonly heap: WebAssembly.Memory;
}

/** What a worker is started with. */
export interface WorkerStart {
  readonly control: ArrayBufferLike;
  readonly heaps: readonly WebAssembly.Memory[];
  readonly module: WebAssembly.Module;
  readonly threads: number;
  readonly kernels: readonly string[];
  /** Machine code of `ROUTINE_KERNELS`, which are numbered behind those of WebAssembly and `kernels`, the module's. */
  readonly native: SharedCode | undefined;
  /** Where its scratch is in each heap. */
  readonly scratch: number;
  /** Every command is timed. */
  readonly profile: boolean;
}

/** The two commands that are no kernels. */
export const COPY_KERNEL = -1;
export const FILL_KERNEL = -2;

/** What a worker says to the host: that it waits for work, or why it failed. */
export type WorkerMessage = { readonly ready: true } | { readonly failed: string };
