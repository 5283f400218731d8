import type { Commands, Recording } from "../device/device.ts";
import type { Families } from "../device/families.ts";
import type { RunMemory } from "../device/run-memory.ts";
import type { Staging } from "../device/staging.ts";
import { type CpuCommand, copyCommand, heapOf, isAlike } from "./commands.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { FAMILIES } from "./families/index.ts";
import type { CpuBuffer, CpuMemory } from "./memory.ts";
import { type CpuKernel, type Members, pack, type Pointer, type Values } from "./parameters.ts";
import type { Queue } from "./queue.ts";

/** A recording on the CPU device: families become commands for the workers. */
export class CpuRecording implements Recording, Dispatcher {
  readonly memory: RunMemory;
  readonly staging: Staging;
  readonly threads: number;
  readonly #buffers: CpuMemory;
  readonly #queue: Queue | undefined;
  #commands: CpuCommand[] = [];
  /** Stand-ins for what lies in another heap than the command that works on it. */
  readonly #doubles: CpuBuffer[] = [];

  /** @param queue undefined: nothing is ever sent */
  constructor(memory: RunMemory, buffers: CpuMemory, queue: Queue | undefined, staging: Staging, threads: number) {
    this.memory = memory;
    this.#buffers = buffers;
    this.#queue = queue;
    this.staging = staging;
    this.threads = threads;
  }

  compute<F extends keyof Families>(family: F, operands: Families[F]): void {
    FAMILIES[family](this, operands);
  }

  dispatch<M extends Members>(kernel: CpuKernel<M>, values: Values<M>, pieces: number): void {
    const { words, pointers } = pack(kernel, values);
    const heaps = new Set(pointers.map(heapOf));
    if (heaps.size <= 1) {
      this.#commands.push({ kernel, words, pointers, pieces });
      return;
    }
    const largest = pointers.reduce((one, other) => (other.size > one.size ? other : one));
    const home = heapOf(largest);
    const doubles = new Map<Pointer, Pointer>();
    for (const pointer of pointers) {
      if (heapOf(pointer) !== home)
        doubles.set(pointer, { ...pointer, buffer: this.#double(pointer, home), offset: 0 });
    }
    for (const [pointer, double] of doubles) this.#commands.push(copyCommand(pointer, double));
    const moved = pointers.map((pointer) => ({ ...pointer, ...doubles.get(pointer) }));
    for (const { word, offset } of moved) words[word] = offset;
    this.#commands.push({ kernel, words, pointers: moved, pieces });
    for (const [pointer, double] of doubles) {
      if (pointer.access !== "read") this.#commands.push(copyCommand(double, pointer));
    }
  }

  take(): Commands {
    const commands = this.#commands.filter(({ pieces }) => pieces > 0);
    this.#commands = [];
    return new CpuCommands(commands, this.#queue);
  }

  /** Nothing is compiled where it is needed first. */
  async rehearse(): Promise<void> {
    this.#commands = [];
  }

  [Symbol.dispose](): void {
    this.#commands = [];
    for (const buffer of this.#doubles.splice(0)) this.#buffers.release(buffer);
  }

  #double({ buffer, size }: Pointer, heap: number): CpuBuffer {
    const double = this.#buffers.allocate(`${buffer.label} in heap ${heap}`, size, heap);
    this.#doubles.push(double);
    return double;
  }
}

/** Commands in their order. */
class CpuCommands implements Commands {
  readonly #list: readonly CpuCommand[];
  readonly #queue: Queue | undefined;

  constructor(list: readonly CpuCommand[], queue: Queue | undefined) {
    this.#list = list;
    this.#queue = queue;
  }

  get parameters(): readonly Uint32Array<ArrayBuffer>[] {
    return this.#list.map(({ words }) => words);
  }

  isLike(other: Commands): boolean {
    if (!(other instanceof CpuCommands) || other.#list.length !== this.#list.length) return false;
    return this.#list.every((command, at) => isAlike(command, other.#list[at]));
  }

  async send(): Promise<void> {
    await this.#queue?.send(this.#list);
  }
}
