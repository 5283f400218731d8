import type { KernelTime } from "../device/device.ts";
import type { GpuBuffer, GpuMemory } from "./memory.ts";

/** GPU time per kernel, from timestamp queries around every dispatch. Only made for `--profile`. */
export class Profiler {
  readonly #device: GPUDevice;
  readonly #memory: GpuMemory;
  /** Those of one submission; used again by the next, as they are resolved in the order of the queue. */
  readonly #querySets: GPUQuerySet[] = [];
  #labels: string[] = [];
  readonly #pending: Promise<void>[] = [];
  readonly #totals = new Map<string, { calls: number; seconds: number }>();

  /** @param device must have `timestamp-query`; see `isSupported` */
  constructor(device: GPUDevice, memory: GpuMemory) {
    this.#device = device;
    this.#memory = memory;
  }

  static isSupported(device: GPUDevice): boolean {
    return device.features.has("timestamp-query");
  }

  /** Timestamps for one dispatch. */
  begin(label: string): GPUComputePassTimestampWrites {
    const dispatch = this.#labels.push(label) - 1;
    const index = 2 * (dispatch % PER_SET);
    const querySet = (this.#querySets[Math.floor(dispatch / PER_SET)] ??= this.#device.createQuerySet({
      type: "timestamp",
      count: 2 * PER_SET,
    }));
    return { querySet, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 };
  }

  /** Called by `Stream.submit` after the last pass: reads the timestamps back once the work has run. */
  resolve(encoder: GPUCommandEncoder): void {
    const labels = this.#labels;
    this.#labels = [];
    if (labels.length === 0) return;
    const size = labels.length * 16;
    const resolved = this.#memory.allocate("timestamps", size, "queries");
    const mapped = this.#memory.allocate("timestamps", size, "read");
    for (const [index, set] of this.#querySets.entries()) {
      const count = Math.min(PER_SET, labels.length - index * PER_SET);
      if (count > 0) encoder.resolveQuerySet(set, 0, 2 * count, resolved.buffer, index * PER_SET * 16);
    }
    encoder.copyBufferToBuffer(resolved.buffer, 0, mapped.buffer, 0, size);
    const collected = this.#collect(labels, resolved, mapped);
    collected.catch(() => {}); // thrown by `report`; a device that is closed before has nobody who asks
    this.#pending.push(collected);
  }

  async report(): Promise<KernelTime[]> {
    await Promise.all(this.#pending.splice(0));
    return [...this.#totals]
      .map(([kernel, total]) => ({ kernel, ...total }))
      .toSorted((left, right) => right.seconds - left.seconds);
  }

  async #collect(labels: readonly string[], resolved: GpuBuffer, mapped: GpuBuffer): Promise<void> {
    await Promise.resolve(); // the copy must have been submitted before its target may be mapped
    await mapped.buffer.mapAsync(GPUMapMode.READ);
    const times = new BigUint64Array(mapped.buffer.getMappedRange());
    labels.forEach((label, index) => {
      const total = this.#totals.get(label) ?? { calls: 0, seconds: 0 };
      total.calls += 1;
      total.seconds += Number((times[2 * index + 1] ?? 0n) - (times[2 * index] ?? 0n)) / 1e9;
      this.#totals.set(label, total);
    });
    mapped.buffer.unmap();
    this.#memory.release(mapped);
    this.#memory.release(resolved);
  }
}

/** Dispatches that one set of queries times: WebGPU allows 4096 queries a set. */
const PER_SET = 2048;
