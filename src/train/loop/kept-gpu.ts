import type { Device } from "../../compute/device/device.ts";
import { type DeviceOptions, openDevice } from "../../compute/open-device.ts";

/**
 * A GPU for several runs, one after the other: it is opened by the first, so that kernels are compiled once, and anew
 * after it was let go.
 */
export class KeptGpu implements Disposable {
  readonly #options: DeviceOptions;
  #gpu: Device | undefined;

  constructor(options: DeviceOptions = {}) {
    this.#options = options;
  }

  /** The GPU, as empty as if it had just been opened. @throws RandloraError `gpu` */
  async open(): Promise<Device> {
    this.#gpu ??= await openDevice(this.#options);
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
