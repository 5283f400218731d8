import type { Binding } from "../device/buffer.ts";
import type { GpuContext, Workgroups } from "./context.ts";
import type { Kernel } from "./pipelines.ts";
import { type LastGroup, Stream } from "./stream.ts";
import { MOST_WORK } from "./work.ts";

/** A dispatch that waits to be sent; its kernel may still be compiling. */
export interface Dispatch {
  readonly kernel: Promise<Kernel>;
  readonly parameters: Uint32Array<ArrayBuffer>;
  readonly buffers: readonly Binding[];
  readonly workgroups: Workgroups;
  /** Operations, roughly. */
  readonly work: number;
  /** For those that are sent many times. */
  readonly last: LastGroup;
}

/**
 * Dispatches that are sent at once: few at first, so that the GPU begins while the rest is still prepared, then more. Fewer of
 * those that work long (`MOST_WORK`), so that no driver takes a long step for a GPU that hangs.
 */
const PIECE = { first: 32, most: 256 };

/**
 * Dispatches after which one waits for the GPU to have done those before the last as many. Each one on its way holds a
 * mapping of memory in some drivers, and a Linux process has 65,530 of them by default: Mesa's software GPU dies where
 * no more can be made.
 */
const MARK = 4096;

/** Sends dispatches in pieces, and keeps what is on its way to the GPU within bounds without ever letting it run dry. */
export class Sender {
  readonly #gpu: GpuContext;
  /** Settles when the work before it has run. */
  #mark: Promise<unknown> | undefined;
  #sinceMark = 0;

  constructor(gpu: GpuContext) {
    this.#gpu = gpu;
  }

  /**
   * Sends dispatches in their order, each once its kernel is compiled.
   * @throws RandloraError `gpu`, `memory`
   */
  async send(dispatches: readonly Dispatch[]): Promise<void> {
    const stream = new Stream(this.#gpu);
    let piece = PIECE.first;
    let recorded = 0;
    let working = 0;
    try {
      await this.#gpu.memory.pending;
      for (const { kernel, parameters, buffers, workgroups, work, last } of dispatches) {
        if (recorded === piece || (recorded > 0 && working + work > MOST_WORK)) {
          await this.#submit(stream, recorded);
          if (recorded === piece) piece = Math.min(2 * piece, PIECE.most);
          recorded = working = 0;
        }
        stream.dispatch(await kernel, parameters, buffers, workgroups, last);
        recorded += 1;
        working += work;
      }
      if (recorded > 0) await this.#submit(stream, recorded);
    } catch (thrown) {
      stream.discard();
      throw thrown;
    }
  }

  /** Waits while more than twice `MARK` dispatches are on their way. */
  async #submit(stream: Stream, dispatches: number): Promise<void> {
    await this.#gpu.memory.pending;
    stream.submit();
    this.#sinceMark += dispatches;
    if (this.#sinceMark < MARK) return;
    this.#sinceMark = 0;
    const earlier = this.#mark;
    const mark = this.#gpu.device.queue.onSubmittedWorkDone();
    mark.catch(() => {}); // a device that has failed is reported by whoever waits next
    this.#mark = mark;
    if (earlier !== undefined) await this.#gpu.settle(earlier);
  }
}
