import { RandloraError } from "../errors.ts";
import { bytes as showBytes } from "./show.ts";

/** Freed buffers up to this size are kept for the next caller that asks for the very same size. */
const MAX_REUSABLE_BYTES = 64 * 2 ** 20;
/** Idle buffers together never hold more than this. */
const MAX_IDLE_BYTES = 128 * 2 ** 20;

/** A storage buffer: `size` is what was asked for, the GPU's may be up to 3 bytes longer. */
export interface GpuBuffer {
  readonly buffer: GPUBuffer;
  readonly size: number;
  readonly label: string;
}

/**
 * All buffers of a device: allocation inside out-of-memory scopes, reuse by exact size, and a count of the bytes.
 * `liveBytes` are in use; `idleBytes` wait to be reused; `peakBytes` is the most that ever existed at once,
 * `peakLiveBytes` the most that ever were in use.
 */
export class GpuMemory {
  readonly #device: GPUDevice;
  readonly #fail: (error: RandloraError) => void;
  readonly #idle = new Map<number, GPUBuffer[]>();
  readonly #live = new Set<GPUBuffer>();
  #liveBytes = 0;
  #idleBytes = 0;
  #peakBytes = 0;
  #peakLiveBytes = 0;

  /** @param fail receives out-of-memory errors, which WebGPU reports after the call that caused them */
  constructor(device: GPUDevice, fail: (error: RandloraError) => void) {
    this.#device = device;
    this.#fail = fail;
  }

  get liveBytes(): number {
    return this.#liveBytes;
  }

  get idleBytes(): number {
    return this.#idleBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  get peakLiveBytes(): number {
    return this.#peakLiveBytes;
  }

  /**
   * A buffer of at least `size` bytes that kernels can read and write. Its content is undefined when it is reused.
   * @throws RandloraError `memory` when the GPU cannot make a buffer of this size; a GPU that is merely full reports
   *   it at the next `gpu.settle`
   */
  allocate(label: string, size: number): GpuBuffer {
    const padded = Math.max(16, Math.ceil(size / 4) * 4);
    if (padded > this.#device.limits.maxBufferSize) {
      const limit = showBytes(this.#device.limits.maxBufferSize);
      throw new RandloraError(
        "memory",
        `${label}: needs one buffer of ${showBytes(padded)}, this GPU allows ${limit}`,
        "choose another GPU with --gpu",
      );
    }
    const buffer = this.#take(padded) ?? this.#create(label, padded);
    this.#live.add(buffer);
    this.#liveBytes += padded;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes + this.#idleBytes);
    this.#peakLiveBytes = Math.max(this.#peakLiveBytes, this.#liveBytes);
    return { buffer, size, label };
  }

  /** Gives a buffer back; work that was submitted before may still use it. */
  release(held: GpuBuffer): void {
    const { buffer } = held;
    if (!this.#live.delete(buffer)) throw new Error(`${held.label}: released twice`);
    this.#liveBytes -= buffer.size;
    if (buffer.size > MAX_REUSABLE_BYTES || this.#idleBytes + buffer.size > MAX_IDLE_BYTES) {
      buffer.destroy();
      return;
    }
    const bucket = this.#idle.get(buffer.size);
    if (bucket === undefined) this.#idle.set(buffer.size, [buffer]);
    else bucket.push(buffer);
    this.#idleBytes += buffer.size;
  }

  /** Destroys the idle buffers. */
  trim(): void {
    for (const bucket of this.#idle.values()) for (const buffer of bucket) buffer.destroy();
    this.#idle.clear();
    this.#idleBytes = 0;
  }

  /** Destroys every buffer; used when the device is closed. */
  clear(): void {
    this.trim();
    for (const buffer of this.#live) buffer.destroy();
    this.#live.clear();
    this.#liveBytes = 0;
  }

  #take(size: number): GPUBuffer | undefined {
    const buffer = this.#idle.get(size)?.pop();
    if (buffer !== undefined) this.#idleBytes -= size;
    return buffer;
  }

  #create(label: string, size: number): GPUBuffer {
    this.#device.pushErrorScope("out-of-memory");
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = this.#device.createBuffer({ label, size, usage });
    const live = showBytes(this.#liveBytes);
    void this.#device.popErrorScope().then((error) => {
      if (error === null) return;
      const hint = "close other programs that use the GPU, or choose another one with --gpu";
      this.#fail(
        new RandloraError("memory", `${label}: the GPU has no room for ${showBytes(size)} beside ${live} in use`, hint),
      );
    });
    return buffer;
  }
}
