import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";

/** Scratch buffers, allocated once. All modules share them: what is recorded one after the other runs so. */
export class Scratch<Role extends string> {
  readonly #buffers = new Map<string, DeviceBuffer>();

  /**
   * @param sizes bytes of each buffer; 0: none
   * @throws RandloraError `memory`
   */
  constructor(gpu: Device, sizes: Readonly<Record<Role, number>>) {
    for (const [role, bytes] of Object.entries<number>(sizes)) {
      if (bytes > 0) this.#buffers.set(role, gpu.memory.allocate(`adapter scratch: ${role}`, bytes));
    }
  }

  get(role: Role): DeviceBuffer {
    const buffer = this.find(role);
    if (buffer === undefined) throw new Error(`no scratch was planned for ${role}`);
    return buffer;
  }

  /** Undefined where nothing needs it. */
  find(role: Role): DeviceBuffer | undefined {
    return this.#buffers.get(role);
  }
}
