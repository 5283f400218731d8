import type { DeviceBuffer, DeviceLimits, DeviceMemory } from "./buffer.ts";

/** A device, as far as buffers go. */
interface MemorySource {
  readonly memory: DeviceMemory;
  readonly limits: DeviceLimits;
}

/** The buffers of one recording: what is released serves later work of the same recording. */
export class RunMemory {
  readonly #device: MemorySource;
  readonly #owned = new Set<DeviceBuffer>();
  readonly #free = new Map<number, DeviceBuffer[]>();

  constructor(device: MemorySource) {
    this.#device = device;
  }

  /** At least `bytes` of undefined content, perhaps used by earlier work. @throws RandloraError `memory` */
  allocate(label: string, bytes: number): DeviceBuffer {
    const size = sizeClass(bytes, this.#device.limits.maxBindingSize);
    const buffer = this.#free.get(size)?.pop() ?? this.#device.memory.allocate(label, size);
    this.#owned.add(buffer);
    return buffer;
  }

  /** `bytes` that no earlier work of this recording uses. @throws RandloraError `memory` */
  allocateFresh(label: string, bytes: number): DeviceBuffer {
    const buffer = this.#device.memory.allocate(label, sizeClass(bytes, this.#device.limits.maxBindingSize));
    this.#owned.add(buffer);
    return buffer;
  }

  /** Lets later work of this recording use the buffer. */
  release(buffer: DeviceBuffer): void {
    if (!this.#owned.delete(buffer)) throw new Error(`${buffer.label}: not of this run, or released twice`);
    const bucket = this.#free.get(buffer.size);
    if (bucket === undefined) this.#free.set(buffer.size, [buffer]);
    else bucket.push(buffer);
  }

  /** Hands the buffer to the caller. */
  keep(buffer: DeviceBuffer): void {
    if (!this.#owned.delete(buffer)) throw new Error(`${buffer.label}: not of this run`);
  }

  /** Gives everything back to the device's pool. */
  clear(): void {
    for (const buffer of this.#owned) this.#device.memory.release(buffer);
    for (const bucket of this.#free.values()) for (const buffer of bucket) this.#device.memory.release(buffer);
    this.#owned.clear();
    this.#free.clear();
  }
}

/**
 * Bytes to allocate: large tensors in eight sizes an octave, so that the micro-batches of a step, which are never
 * equally long, use each other's memory. Never above what can be bound where the tensor is not.
 */
function sizeClass(bytes: number, most: number): number {
  if (bytes < 2 ** 16) return Math.max(16, bytes);
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3);
  const rounded = Math.ceil(bytes / step) * step;
  return bytes <= most ? Math.min(rounded, most) : rounded;
}
