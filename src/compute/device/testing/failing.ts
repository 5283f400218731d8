import { RandloraError } from "../../../files/errors.ts";
import type { Device, DeviceMemory } from "../device.ts";
import { overlaid } from "../owned.ts";

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
  return overlaid(device, { memory: overlaid(device.memory, own) });
}
