import type { RunMemory } from "../device/run-memory.ts";
import type { CpuKernel, Members, Values } from "./parameters.ts";

/** What families record into. */
export interface Dispatcher {
  /** Where scratch comes from. */
  readonly memory: RunMemory;
  /** Workers; how work is divided may follow from it, but never a bit of the result. */
  readonly threads: number;
  /**
   * Whether this kernel of machine code is used: where it isn't, the module's is. It is cut into larger pieces.
   * @param dtype of products: the format of a matrix, as parameters number it
   */
  has(kernel: CpuKernel<Members>, dtype?: number): boolean;
  /** The kernel in machine code where that is used, else in WebAssembly: for those whose pieces are the same. */
  chosen<M extends Members>(kernel: CpuKernel<M>, dtype?: number): CpuKernel<M>;
  /** Records one command: `pieces` pieces, in any order and on any worker. */
  dispatch<M extends Members>(kernel: CpuKernel<M>, values: Values<M>, pieces: number): void;
}
