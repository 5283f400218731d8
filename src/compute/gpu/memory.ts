import { RandloraError } from "../../files/errors.ts";
import { type Buffers, type DeviceBuffer, type DeviceMemory, eachOf, type Labels } from "../device/buffer.ts";
import { overLimit } from "../device/memory-limit.ts";
import { bytes as showBytes } from "./show.ts";

/** What helps when a GPU is full. */
export const FULL_HINT = "close other programs that use the GPU, or choose another one with --device";
/** Freed buffers up to this size are kept for the next caller that asks for the very same size. */
const MAX_REUSABLE_BYTES = 64 * 2 ** 20;
/** Idle buffers together never hold more than this. */
const MAX_IDLE_BYTES = 128 * 2 ** 20;

/** Buffers for data on their way back are kept up to this size: what each token is read through, not whole weights. */
const MAX_REUSABLE_READ_BYTES = 2 ** 20;

/** Bytes for uploads that Dawn has at hand once it was asked to upload any, as it keeps one of its rings of 4 MiB; half is lost where it is used in turns. */
const AT_HAND = 2 ** 20;

/**
 * What a buffer is for: kernels' data, kernels' parameters, data on their way back, or timestamps, which are needed in ever
 * other sizes, so that they are not kept when they are released.
 */
export type BufferKind = "storage" | "uniforms" | "read" | "queries";

/** A buffer: `size` is what was asked for, the GPU's may be up to 3 bytes longer. */
export interface GpuBuffer extends DeviceBuffer {
  readonly buffer: GPUBuffer;
}

/** Why there is no memory behind a buffer, and whether somebody was told. */
interface Refusal {
  readonly error: RandloraError;
  isTold: boolean;
}

const REFUSALS = new WeakMap<GPUBuffer, Refusal>();

/** What WebGPU knows a buffer as. @throws Error for one of another device; RandloraError `memory` for one that there was no room for */
export function nativeBuffer(held: DeviceBuffer): GPUBuffer {
  const buffer = ofGpu(held);
  const refusal = REFUSALS.get(buffer);
  if (refusal === undefined) return buffer;
  refusal.isTold = true;
  throw refusal.error;
}

function ofGpu(held: DeviceBuffer): GPUBuffer {
  if ("buffer" in held) return (held as GpuBuffer).buffer;
  throw new Error(`${held.label}: not in this GPU's memory`);
}

/** A buffer that waits to be used again. */
interface IdleBuffer {
  readonly buffer: GPUBuffer;
  /** When it was released; see `dropUnused`. */
  readonly round: number;
}

/**
 * All buffers of a GPU, whatever they are for: allocation inside out-of-memory scopes, reuse by exact size, and a
 * count of the bytes.
 */
export class GpuMemory implements DeviceMemory {
  readonly #device: GPUDevice;
  readonly #onDestroy: (buffer: GPUBuffer) => void;
  readonly limit: number;
  readonly #idle = {
    storage: new Map<number, IdleBuffer[]>(),
    uniforms: new Map<number, IdleBuffer[]>(),
    read: new Map<number, IdleBuffer[]>(),
  };
  readonly #live = new Map<GPUBuffer, BufferKind>();
  /** Buffers of which the GPU has not said whether there is room. */
  readonly #asked = new Set<Promise<void>>();
  /** Those that there was no room for. */
  readonly #refusals = new Set<Refusal>();
  #hasRefused = false;
  #isClosed = false;
  #liveBytes = 0;
  #idleBytes = 0;
  #peakBytes = 0;
  #peakLiveBytes = 0;
  /** Bytes of live and idle buffers beyond which idle ones make room. */
  #ceiling: number;
  /** Calls of `dropUnused` so far. */
  #round = 0;
  /** Bytes at hand that uploads have taken. */
  #taken = 0;

  /**
   * @param onDestroy is told of each buffer that is destroyed
   * @param limit bytes that may exist at once
   */
  constructor(device: GPUDevice, onDestroy: (buffer: GPUBuffer) => void, limit = Infinity) {
    this.limit = this.#ceiling = limit;
    this.#device = device;
    this.#onDestroy = onDestroy;
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

  /** Was there ever a buffer that there was no room for? What is done with it is refused by Dawn, too. */
  get hasRefused(): boolean {
    return this.#hasRefused;
  }

  /** Those of which the GPU has not said yet whether it has room for them: undefined where there are none. */
  get pending(): Promise<unknown> | undefined {
    return this.#asked.size === 0 ? undefined : Promise.all(this.#asked);
  }

  async confirm(buffers: readonly DeviceBuffer[]): Promise<void> {
    await this.pending;
    for (const buffer of buffers) nativeBuffer(buffer);
  }

  /** @throws RandloraError `memory` for a buffer that there was no room for, unless whoever used it was told */
  check(): void {
    for (const refusal of this.#refusals) {
      this.#refusals.delete(refusal);
      if (refusal.isTold) continue;
      refusal.isTold = true;
      throw refusal.error;
    }
  }

  /**
   * A buffer of at least `size` bytes, by default one that kernels can read and write. Its content is undefined when it
   * is reused.
   * @throws RandloraError `memory` when the GPU cannot make a buffer of this size; one that is merely full says so later: to
   *   whoever uses the buffer then, or else at the next `gpu.settle`
   */
  allocate(label: string, size: number, kind: BufferKind = "storage"): GpuBuffer {
    const padded = Math.max(16, Math.ceil(size / 4) * 4);
    if (padded > this.#device.limits.maxBufferSize) {
      const limit = showBytes(this.#device.limits.maxBufferSize);
      throw new RandloraError(
        "memory",
        `${label}: needs one buffer of ${showBytes(padded)}, this GPU allows ${limit}`,
        "choose another GPU with --device",
      );
    }
    if (this.#liveBytes + padded > this.limit) throw overLimit(label, padded, this);
    const buffer = this.#take(padded, kind) ?? this.#create(label, padded, kind);
    this.#live.set(buffer, kind);
    this.#liveBytes += padded;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes + this.#idleBytes);
    this.#peakLiveBytes = Math.max(this.#peakLiveBytes, this.#liveBytes);
    return { buffer, size, label };
  }

  allocateTogether<L extends Labels>(labels: L, size: number): Buffers<L, GpuBuffer> {
    using held = new DisposableStack();
    const buffers = eachOf(labels, (label) => held.adopt(this.allocate(label, size), (one) => this.release(one)));
    held.move();
    return buffers;
  }

  /** Takes so many of the bytes for uploads that Dawn has at hand. @returns false where there are too few: another ring may have no room */
  isAtHand(bytes: number): boolean {
    const is = this.#taken + bytes <= AT_HAND;
    if (is) this.#taken += bytes;
    return is;
  }

  /** Says that what was uploaded has been taken. */
  settled(): void {
    this.#taken = 0;
  }

  /**
   * Copies bytes, a multiple of 4, into a buffer through one that is made for that. Dawn would make one as well, and where it had no
   * room for it the device would be lost; so whoever uses `held` is told.
   */
  upload(held: DeviceBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    const target = nativeBuffer(held);
    const descriptor = {
      label: held.label,
      size: bytes.length,
      usage: GPUBufferUsage.COPY_SRC,
      mappedAtCreation: true,
    };
    const source = this.#make(descriptor, target);
    new Uint8Array(source.getMappedRange()).set(bytes);
    source.unmap();
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, offset, bytes.length);
    this.#device.queue.submit([encoder.finish()]);
    source.destroy(); // once it has been copied
  }

  /** A buffer must not be mapped any more. */
  release(held: DeviceBuffer): void {
    const buffer = ofGpu(held);
    const kind = this.#live.get(buffer);
    if (kind === undefined) {
      if (this.#isClosed) return;
      throw new Error(`${held.label}: released twice`);
    }
    this.#live.delete(buffer);
    this.#liveBytes -= buffer.size;
    const refusal = REFUSALS.get(buffer);
    if (refusal !== undefined) refusal.isTold = true;
    if (kind === "queries" || refusal !== undefined || !this.#isKept(buffer.size, kind)) {
      this.#destroy(buffer);
      return;
    }
    const idle = { buffer, round: this.#round };
    const bucket = this.#idle[kind].get(buffer.size);
    if (bucket === undefined) this.#idle[kind].set(buffer.size, [idle]);
    else bucket.push(idle);
    this.#idleBytes += buffer.size;
  }

  /**
   * Within a known peak everything is kept: a buffer that is destroyed while submitted work still uses it takes its memory
   * until that has run, beside the one that is made in its place.
   */
  #isKept(size: number, kind: BufferKind): boolean {
    if (this.#ceiling < Infinity) return this.#liveBytes + this.#idleBytes + size <= this.#ceiling;
    const most = kind === "read" ? MAX_REUSABLE_READ_BYTES : MAX_REUSABLE_BYTES;
    return size <= most && this.#idleBytes + size <= MAX_IDLE_BYTES;
  }

  stayWithinPeak(): void {
    this.#ceiling = Math.min(this.#peakLiveBytes, this.limit);
    this.trim();
  }

  restart(): void {
    this.#ceiling = this.limit;
    this.trim();
    this.#peakBytes = this.#peakLiveBytes = this.#liveBytes;
  }

  dropUnused(): void {
    this.#destroyIdle(({ round }) => round < this.#round);
    this.#round += 1;
  }

  trim(): void {
    this.#destroyIdle(() => true);
  }

  /** Destroys every buffer; used when the device is closed. What is released afterwards is gone already. */
  clear(): void {
    this.#isClosed = true;
    this.trim();
    for (const buffer of this.#live.keys()) this.#destroy(buffer);
    this.#live.clear();
    this.#liveBytes = 0;
  }

  #destroyIdle(goes: (idle: IdleBuffer) => boolean): void {
    for (const idle of Object.values(this.#idle)) {
      for (const [size, bucket] of idle) {
        const stay = bucket.filter((one) => {
          if (!goes(one)) return true;
          this.#destroy(one.buffer);
          this.#idleBytes -= size;
          return false;
        });
        if (stay.length === 0) idle.delete(size);
        else idle.set(size, stay);
      }
    }
  }

  #destroy(buffer: GPUBuffer): void {
    this.#onDestroy(buffer);
    buffer.destroy();
  }

  #take(size: number, kind: BufferKind): GPUBuffer | undefined {
    if (kind === "queries") return undefined;
    const buffer = this.#idle[kind].get(size)?.pop()?.buffer;
    if (buffer !== undefined) this.#idleBytes -= size;
    return buffer;
  }

  #create(label: string, size: number, kind: BufferKind): GPUBuffer {
    const isOver = () => this.#liveBytes + this.#idleBytes + size > this.#ceiling;
    if (isOver()) this.#destroyIdle(isOver);
    return this.#make({ label, size, usage: usageOf(kind) });
  }

  /** @param target is refused where there is no room; left out, what is made */
  #make(descriptor: GPUBufferDescriptor & { readonly label: string }, target?: GPUBuffer): GPUBuffer {
    this.#device.pushErrorScope("out-of-memory");
    const made = this.#device.createBuffer(descriptor);
    const [buffer, live] = [target ?? made, showBytes(this.#liveBytes)];
    const answer = this.#device.popErrorScope().catch(() => null); // of a device that is lost, which says so itself
    const asked = answer.then((error) => {
      this.#asked.delete(asked);
      if (error === null) return;
      const { label, size } = descriptor;
      const message = `${label}: the GPU has no room for ${showBytes(size)} beside ${live} in use`;
      const refusal = { error: new RandloraError("memory", message, FULL_HINT), isTold: !this.#live.has(buffer) };
      this.#hasRefused = true;
      this.#refusals.add(refusal);
      REFUSALS.set(buffer, refusal);
      // It may have been given back meanwhile.
      this.#destroyIdle((one) => one.buffer === buffer);
    });
    this.#asked.add(asked);
    return made;
  }
}

function usageOf(kind: BufferKind): GPUBufferUsageFlags {
  switch (kind) {
    case "storage":
      return GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    case "uniforms":
      return GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    case "read":
      return GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    case "queries":
      return GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
  }
}
