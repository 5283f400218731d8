import { RandloraError } from "../../files/errors.ts";
import { type Buffers, type DeviceBuffer, type DeviceMemory, eachOf, type Labels } from "../device/buffer.ts";
import { overLimit } from "../device/memory-limit.ts";
import { type Block, type Heaps, wholeLines } from "./heap.ts";

/** A buffer in a heap; one of a device that only counts has no block. */
export interface CpuBuffer extends DeviceBuffer {
  readonly block: Block | undefined;
  /** The last entry of the queue that uses it, by number. */
  busy: number;
}

/** @throws Error for a buffer of another device */
export function cpuBuffer(held: DeviceBuffer): CpuBuffer {
  if ("block" in held) return held as CpuBuffer;
  throw new Error(`${held.label}: not in the CPU device's memory`);
}

/** Buffers in heaps. What is given back is there for others at once, so nothing is ever idle. */
export class CpuMemory implements DeviceMemory {
  readonly idleBytes = 0;
  readonly limit: number;
  readonly #mostBytes: number;
  readonly #heaps: Heaps | undefined;
  readonly #live = new Set<CpuBuffer>();
  #liveBytes = 0;
  #peakBytes = 0;

  /**
   * @param mostBytes of one buffer
   * @param heaps undefined: buffers are only counted
   * @param limit bytes that may exist at once
   */
  constructor(mostBytes: number, heaps: Heaps | undefined, limit = Infinity) {
    this.limit = limit;
    this.#mostBytes = mostBytes;
    this.#heaps = heaps;
  }

  get liveBytes(): number {
    return this.#liveBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  get peakLiveBytes(): number {
    return this.#peakBytes;
  }

  /** @param heap where it must lie; anywhere by default */
  allocate(label: string, size: number, heap?: number): CpuBuffer {
    if (size > this.#mostBytes) {
      const [needed, limit] = [size, this.#mostBytes].map((bytes) => `${(bytes / 2 ** 30).toFixed(1)} GB`);
      throw new RandloraError(
        "memory",
        `${label}: needs one buffer of ${needed}, the CPU device allows ${limit}`,
        "choose a GPU with --device (randlora doctor lists them)",
      );
    }
    this.#refuseBeyond(label, size);
    const taken = this.#heaps?.take(label, size, heap === undefined ? {} : { heap });
    return this.#hold({ size, label, block: taken?.block, busy: taken?.busy ?? 0 });
  }

  /** In one heap, unless a heap is too small for all: a command that works in two copies what lies in the other. */
  allocateTogether<L extends Labels>(labels: L, size: number): Buffers<L, CpuBuffer> {
    const each = wholeLines(size);
    if (this.#heaps === undefined || labels.length * each > this.#mostBytes) {
      using held = new DisposableStack();
      const buffers = eachOf(labels, (label) => held.adopt(this.allocate(label, size), (one) => this.release(one)));
      held.move();
      return buffers;
    }
    this.#refuseBeyond(labels[0], labels.length * size);
    const { block, busy } = this.#heaps.take(labels.join(" and "), labels.length * each);
    return eachOf(labels, (label, index) => {
      return this.#hold({ size, label, block: { ...block, at: block.at + index * each, size: each }, busy });
    });
  }

  #refuseBeyond(label: string, bytes: number): void {
    if (this.#liveBytes + bytes > this.limit) throw overLimit(label, bytes, this);
  }

  #hold(buffer: CpuBuffer): CpuBuffer {
    this.#live.add(buffer);
    this.#liveBytes += buffer.size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return buffer;
  }

  release(held: DeviceBuffer): void {
    const buffer = cpuBuffer(held);
    if (!this.#live.delete(buffer)) throw new Error(`${held.label}: released twice`);
    this.#liveBytes -= buffer.size;
    if (buffer.block !== undefined) this.#heaps?.give(buffer.block, buffer.busy);
  }

  /** There was room for each that was made. */
  async confirm(): Promise<void> {}

  restart(): void {
    this.#peakBytes = this.#liveBytes;
  }

  stayWithinPeak(): void {}
  dropUnused(): void {}
  trim(): void {}
}
