import type { RunMemory } from "../device/run-memory.ts";
import type { CpuKernel, Members, Values } from "./parameters.ts";

/** What families record into. */
export interface Dispatcher {
  /** Where scratch comes from. */
  readonly memory: RunMemory;
  /** Workers; how work is divided may follow from it, but never a bit of the result. */
  readonly threads: number;
  /** Kernels of machine code are used where there are some: they are cut into larger pieces. */
  readonly fma: boolean;
  /** Records one command: `pieces` pieces, in any order and on any worker. */
  dispatch<M extends Members>(kernel: CpuKernel<M>, values: Values<M>, pieces: number): void;
}
