import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";

/** The buffers of one recording: what is released serves later work of the same recording. */
export class RunMemory {
  readonly #gpu: Gpu;
  readonly #owned = new Set<GpuBuffer>();
  readonly #free = new Map<number, GpuBuffer[]>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** At least `bytes` of undefined content, perhaps used by earlier work. @throws RandloraError `memory` */
  allocate(label: string, bytes: number): GpuBuffer {
    const size = sizeClass(bytes, this.#gpu.limits.maxStorageBufferBindingSize);
    const buffer = this.#free.get(size)?.pop() ?? this.#gpu.memory.allocate(label, size);
    this.#owned.add(buffer);
    return buffer;
  }

  /** `bytes` that no earlier work of this recording uses. @throws RandloraError `memory` */
  allocateFresh(label: string, bytes: number): GpuBuffer {
    const buffer = this.#gpu.memory.allocate(label, sizeClass(bytes, this.#gpu.limits.maxStorageBufferBindingSize));
    this.#owned.add(buffer);
    return buffer;
  }

  /** Lets later work of this recording use the buffer. */
  release(buffer: GpuBuffer): void {
    if (!this.#owned.delete(buffer)) throw new Error(`${buffer.label}: not of this run, or released twice`);
    const bucket = this.#free.get(buffer.size);
    if (bucket === undefined) this.#free.set(buffer.size, [buffer]);
    else bucket.push(buffer);
  }

  /** Hands the buffer to the caller. */
  keep(buffer: GpuBuffer): void {
    if (!this.#owned.delete(buffer)) throw new Error(`${buffer.label}: not of this run`);
  }

  /** Gives everything back to the GPU's pool. */
  clear(): void {
    for (const buffer of this.#owned) this.#gpu.memory.release(buffer);
    for (const bucket of this.#free.values()) for (const buffer of bucket) this.#gpu.memory.release(buffer);
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
