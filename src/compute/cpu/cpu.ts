import { cpus } from "node:os";
import { BytePool } from "../device/byte-pool.ts";
import type { Copy, Device, DeviceBuffer, DeviceInfo, DeviceLimits, Range } from "../device/device.ts";
import type { ScratchSizes } from "../device/families.ts";
import type { RunMemory } from "../device/run-memory.ts";
import type { CpuStaging, Staging } from "../device/staging.ts";
import { RandloraError } from "../../files/errors.ts";
import { copyBetween, fillCommand } from "./commands.ts";
import { coreCount } from "./cores.ts";
import { Crew, type CrewCode } from "./crew.ts";
import { SCRATCH } from "./families/index.ts";
import { GarbageWatch } from "./garbage.ts";
import { type HeapOptions, Heaps } from "./heap.ts";
import { FIRST_SCRATCH, SCRATCH_PITCH } from "./layout.ts";
import { cpuBuffer, CpuMemory } from "./memory.ts";
import type { Profiler } from "./profiler.ts";
import type { CpuCode } from "./native/choose.ts";
import { Queue } from "./queue.ts";
import { CpuRecording } from "./recording.ts";
import { WrittenPages } from "./written-pages.ts";

/** How the CPU device is opened. */
interface CpuOptions {
  /** Workers; by default one for each core. */
  readonly threads?: number | undefined;
  /** `--memory`: bytes of buffers that may exist at once. */
  readonly memory?: number | undefined;
  /** Time every command. */
  readonly profile?: boolean | undefined;
  /** The fastest by default, or what RANDLORA_CPU_CODE says. */
  readonly code?: CpuCode | undefined;
  /** Told of each kernel of machine code that computes otherwise than WebAssembly's here, and is not used. */
  readonly onFault?: ((fault: string) => void) | undefined;
  /** Memories other than eight of 4 GB, and another reading of what the machine has left: for tests. */
  readonly heaps?: Omit<HeapOptions, "reserved"> | undefined;
}

/** What a device and the one that counts for it have in common. */
interface Shape {
  readonly threads: number;
  /** Bytes of one buffer at most, and of several that are to lie in one heap. */
  readonly mostBytes: number;
  readonly mostTogether: number;
  readonly code: CrewCode;
}

/** What a device that only counts has not. */
interface Parts {
  readonly heaps: Heaps;
  readonly crew: Crew;
  readonly queue: Queue;
}

/** Rows of activations that one command takes: kernels count elements in 32 bits. */
const MOST_ROWS = 2 ** 24;

/** Whatever the threads, the bits are the same; with FMA on every processor that has it, and without on all. */
const DRIVERS: Readonly<Record<CpuCode, string>> = {
  wasm: "WebAssembly with 128-bit SIMD",
  neon: "machine code with NEON",
  avx2: "machine code with AVX2",
  avx512: "machine code with AVX-512",
};

/**
 * The program's own device: kernels in WebAssembly with 128-bit SIMD on threads that share up to eight memories. It needs no
 * driver, and gives the same bits with any number of threads and on every processor.
 */
export class CpuDevice implements Device {
  readonly info: DeviceInfo;
  readonly limits: DeviceLimits;
  readonly staging: CpuStaging;
  /** What it computes with. */
  readonly code: CrewCode;
  readonly memory: CpuMemory;
  readonly skipsZeros = true;
  readonly mixesRows = true;
  readonly #crew: Crew | undefined;
  readonly #queue: Queue | undefined;
  readonly #heaps: Heaps | undefined;
  readonly #shape: Shape;
  /** What is read and written passes through these. */
  readonly #pool = new BytePool();
  readonly #garbage: GarbageWatch | undefined;
  readonly #written = new WrittenPages();

  private constructor(shape: Shape, parts?: Parts, memory?: number) {
    this.#shape = shape;
    this.code = shape.code;
    this.staging = shape.code.native === undefined ? { kind: "cpu" } : { kind: "cpu", fma: true };
    this.#heaps = parts?.heaps;
    this.#crew = parts?.crew;
    this.#queue = parts?.queue;
    this.#garbage = parts && new GarbageWatch(() => this.#written.bytes);
    this.memory = new CpuMemory(shape.mostBytes, this.#heaps, memory);
    const [processor] = cpus();
    this.info = {
      name: `CPU (${processor?.model.trim() ?? process.arch})`,
      vendor: "",
      architecture: process.arch,
      driver: `randlora's own, ${DRIVERS[shape.code.code]}`,
      software: true,
    };
    const { mostBytes, mostTogether: maxTogether } = shape;
    this.limits = { maxBufferSize: mostBytes, maxBindingSize: mostBytes, maxTogether, maxRows: MOST_ROWS };
  }

  /** @throws RandloraError `gpu` where the processor lacks what the kernels need, `memory` */
  static async open(options: CpuOptions = {}): Promise<CpuDevice> {
    const { threads = coreCount(), profile = false, code, onFault, heaps: of, memory } = options;
    try {
      const heaps = new Heaps({ reserved: FIRST_SCRATCH + threads * SCRATCH_PITCH, ...of });
      const scratch = Array.from({ length: threads }, (_, index) => FIRST_SCRATCH + index * SCRATCH_PITCH);
      const crew = await Crew.start({ heaps, scratch, profile, code });
      if (crew.code.checked !== undefined) crew.code.checked.onFault = onFault;
      const queue = new Queue(heaps, crew, profile);
      const { mostBytes, mostTogether } = heaps;
      return new CpuDevice({ threads, mostBytes, mostTogether, code: crew.code }, { heaps, crew, queue }, memory);
    } catch (cause) {
      if (cause instanceof RandloraError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new RandloraError("gpu", `the CPU device cannot start: ${reason}`, "choose a GPU with --device", { cause });
    }
  }

  /** Workers. */
  get threads(): number {
    return this.#shape.threads;
  }

  get profiler(): Profiler | undefined {
    return this.#queue?.profiler;
  }

  counting(): CpuDevice {
    return new CpuDevice(this.#shape);
  }

  /** A run that began without FMA goes on without it. */
  recording(memory: RunMemory, wanted: Staging = this.staging): CpuRecording {
    const staging = wanted.kind === "cpu" && this.staging.fma === true ? wanted : this.staging;
    return new CpuRecording(memory, this.memory, this.#queue, staging, this.threads, this.code.checked);
  }

  /** Nothing is compiled where it is needed first. */
  async prepare(): Promise<void> {}

  scratchBytes<F extends keyof ScratchSizes>(family: F, of: ScratchSizes[F]["of"]): ScratchSizes[F]["bytes"] {
    return SCRATCH[family](of);
  }

  write(target: DeviceBuffer, source: ArrayBufferView<ArrayBuffer>, offset = 0): void {
    const buffer = cpuBuffer(target);
    if (this.#queue === undefined) return;
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    if (this.#queue.isDone(buffer.busy)) {
      this.#store(target, bytes, offset);
      return;
    }
    const kept = this.#pool.take(bytes.length);
    kept.set(bytes);
    buffer.busy = this.#queue.next(() => {
      this.#store(target, kept.subarray(0, bytes.length), offset);
      this.#pool.give(kept);
    }, buffer.busy);
  }

  copy(copies: readonly Copy[]): void {
    this.#queue?.add(copies.filter(({ size }) => size > 0).map(copyBetween));
  }

  clear(buffers: readonly DeviceBuffer[]): void {
    this.#queue?.add(buffers.map((buffer) => fillCommand({ buffer, offset: 0, size: buffer.size, access: "write" })));
  }

  async readWith<T>(ranges: readonly Range[], use: (parts: Uint8Array<ArrayBuffer>[]) => Promise<T>): Promise<T> {
    if (this.#queue === undefined) return use(ranges.map(({ size }) => new Uint8Array(size)));
    // Each part begins at a whole double word.
    const room = ({ size }: Range): number => Math.ceil(size / 8) * 8;
    const bytes = this.#pool.take(ranges.reduce((sum, range) => sum + room(range), 0));
    let end = 0;
    const parts = ranges.map((range) => {
      const begin = end;
      end += room(range);
      return bytes.subarray(begin, begin + range.size);
    });
    const buffers = ranges.map(({ buffer }) => cpuBuffer(buffer));
    const { promise: taken, resolve } = Promise.withResolvers<void>();
    const take = (): void => {
      for (const [index, { buffer, offset, size }] of ranges.entries()) {
        parts[index]?.set(this.#bytes(buffer, offset, size));
      }
      resolve();
    };
    const number = this.#queue.next(take, Math.max(0, ...buffers.map(({ busy }) => busy)));
    // What is written or given back from here on must not be there before its bytes have been taken.
    for (const buffer of buffers) buffer.busy = number;
    try {
      await this.#crew?.settle(taken);
      return await use(parts);
    } finally {
      this.#pool.give(bytes);
    }
  }

  async idle(): Promise<void> {
    await this.#queue?.settle();
  }

  check(): void {
    this.#crew?.check();
  }

  close(): void {
    this.#crew?.close();
    this.#heaps?.close();
    this.#garbage?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Copies bytes into a buffer now, an odd end padded to 4 bytes with zeros. */
  #store(target: DeviceBuffer, bytes: Uint8Array, offset: number): void {
    const padding = -bytes.length & 3;
    const place = this.#bytes(target, offset, bytes.length + padding);
    place.set(bytes);
    const { block } = cpuBuffer(target);
    if (block !== undefined) this.#written.add(block.heap, block.at + offset, place.length);
    if (padding > 0) place.fill(0, bytes.length);
  }

  #bytes(held: DeviceBuffer, offset: number, size: number): Uint8Array {
    const { block, label } = cpuBuffer(held);
    const memory = this.#heaps?.memories[block?.heap ?? -1];
    if (block === undefined || memory === undefined) throw new Error(`${label}: not in this device's memory`);
    if (offset + size > block.size)
      throw new RangeError(`${label}: bytes ${offset} to ${offset + size} of ${block.size}`);
    return new Uint8Array(memory.buffer, block.at + offset, size);
  }
}
