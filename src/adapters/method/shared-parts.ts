import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";

interface Part {
  readonly value: Promise<unknown>;
  readonly owner: DisposableStack;
  users: number;
}

/**
 * What several adapters use on a device and none changes, such as random bases: made by the first that asks for it, given back
 * with the last.
 */
export class SharedParts {
  readonly #device: Device;
  readonly #parts = new Map<string, Part>();

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * @param owner of an adapter: it uses the part until it is disposed of
   * @param key says all that the part is made of, and what it is
   * @param make is given a device whose memory is the part's
   * @throws whatever `make` does; nothing stays allocated
   */
  async take<T>(
    owner: Pick<DisposableStack, "defer">,
    key: string,
    make: (device: Device) => T | Promise<T>,
  ): Promise<T> {
    const part = this.#parts.get(key) ?? this.#make(make);
    this.#parts.set(key, part);
    part.users++;
    const leave = (): void => {
      if (--part.users > 0) return;
      this.#parts.delete(key);
      part.owner.dispose();
    };
    try {
      const value = await part.value;
      owner.defer(leave);
      return value as T; // what this key stands for
    } catch (thrown) {
      leave();
      throw thrown;
    }
  }

  #make<T>(make: (device: Device) => T | Promise<T>): Part {
    const owner = new DisposableStack();
    const value = Promise.try(make, ownedBy(owner, this.#device));
    return { value, owner, users: 0 };
  }
}
