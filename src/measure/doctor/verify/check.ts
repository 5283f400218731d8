import type { Device } from "../../../compute/device/device.ts";
import { Gpu } from "../../../compute/gpu/gpu.ts";
import type { Measured } from "./messages.ts";

/** What is checked, as a line of the report names it. */
export interface Subject {
  /** The op, or what is done: "linear", "ΔW", "training". */
  readonly op: string;
  /** What its stored operands are stored as. */
  readonly format: string;
  /** Shapes of the operands. */
  readonly size: string;
}

/** One thing that a device must do right. */
export interface Check extends Subject {
  /** @throws RandloraError `gpu`, `memory` where the device fails; `numeric` where it computes wrong */
  run(devices: CheckedDevice, signal: AbortSignal): Promise<Finding>;
}

/** What came of a check. */
export interface Finding {
  /** In one line; none where everything is right. */
  readonly wrong?: string | undefined;
  /** What was measured, for the report file. */
  readonly measured?: Measured | undefined;
}

/** The device that is checked: opened when it is needed, and again after it was closed. */
export class CheckedDevice implements Disposable {
  readonly #open: () => Promise<Device>;
  #device: Promise<Device> | undefined;

  constructor(open: () => Promise<Device>) {
    this.#open = open;
  }

  /** @throws RandloraError `gpu`, `memory` */
  get(): Promise<Device> {
    this.#device ??= this.#open();
    return this.#device;
  }

  /** The same, with bindings of so many bytes at most: a GPU takes larger matrices in blocks of rows. */
  async binding(mostBytes: number): Promise<Device> {
    const device = await this.get();
    return device instanceof Gpu ? device.binding(mostBytes) : device;
  }

  /** For what opens the device itself. */
  async close(): Promise<void> {
    const device = this.#device;
    this.#device = undefined;
    (await device?.catch(() => undefined))?.close();
  }

  [Symbol.dispose](): void {
    void this.close();
  }
}
