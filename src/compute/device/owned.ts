import type { Device, DeviceBuffer, DeviceMemory } from "./device.ts";

/**
 * The same device, but what is allocated through it belongs to `owner` until it is released: what is made of several buffers
 * takes none with it when it fails halfway, and is given back at once.
 */
export function ownedBy(owner: Pick<DisposableStack | AsyncDisposableStack, "defer">, device: Device): Device {
  const { memory } = device;
  const held = new Set<DeviceBuffer>();
  const hold = (buffer: DeviceBuffer): DeviceBuffer => {
    held.add(buffer);
    return buffer;
  };
  owner.defer(() => {
    for (const buffer of held) memory.release(buffer);
    held.clear();
  });
  const own: Pick<DeviceMemory, "allocate" | "allocateTogether" | "release"> = {
    allocate: (label, size) => hold(memory.allocate(label, size)),
    allocateTogether(labels, size) {
      const buffers = memory.allocateTogether(labels, size);
      for (const buffer of buffers) hold(buffer);
      return buffers;
    },
    release(buffer) {
      held.delete(buffer);
      memory.release(buffer);
    },
  };
  return overlaid(device, { memory: overlaid(memory, own) });
}

/** `object` with some members of its own; all others are `object`'s, and see nothing of it. */
export function overlaid<T extends object>(object: T, own: Partial<T>): T {
  return new Proxy(object, {
    get(_, key) {
      if (key in own) return own[key as keyof T];
      const value: unknown = Reflect.get(object, key, object);
      return typeof value === "function" ? value.bind(object) : value;
    },
  });
}
