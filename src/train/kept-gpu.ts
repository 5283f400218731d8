import { Gpu, type GpuOptions } from "../gpu/gpu.ts";

/**
 * A GPU for several runs, one after the other: it is opened by the first, so that kernels are compiled once, and anew
 * after it was let go.
 */
export class KeptGpu implements Disposable {
  readonly #options: GpuOptions;
  #gpu: Gpu | undefined;

  constructor(options: GpuOptions = {}) {
    this.#options = options;
  }

  /** The GPU, as empty as if it had just been opened. @throws RandloraError `gpu` */
  async open(): Promise<Gpu> {
    this.#gpu ??= await Gpu.open(this.#options);
    this.#gpu.memory.restart();
    return this.#gpu;
  }

  /** Closes it: after an error it is of no more use. */
  letGo(): void {
    this.#gpu?.close();
    this.#gpu = undefined;
  }

  [Symbol.dispose](): void {
    this.letGo();
  }
}
