import { RandloraError } from "../../../files/errors.ts";
import type { Device, DeviceMemory } from "../device.ts";

/** The same device, whose memory is full after so many buffers. */
export function failingAfter(device: Device, buffers: number): Device {
  let left = buffers;
  const count = (label: string) => {
    if (left-- <= 0) throw new RandloraError("memory", `${label}: there is no room`);
  };
  const own: Partial<DeviceMemory> = {
    allocate(label, size) {
      count(label);
      return device.memory.allocate(label, size);
    },
    allocateTogether(labels, size) {
      count(labels[0]);
      return device.memory.allocateTogether(labels, size);
    },
  };
  const over = <T extends object>(object: T, members: Partial<T>): T =>
    new Proxy(object, {
      get(_, key) {
        if (key in members) return members[key as keyof T];
        const value: unknown = Reflect.get(object, key, object);
        return typeof value === "function" ? value.bind(object) : value;
      },
    });
  return over(device, { memory: over(device.memory, own) });
}
