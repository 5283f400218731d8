import type { Commands, Recording } from "../device/device.ts";
import type { Families } from "../device/families.ts";
import type { RunMemory } from "../device/run-memory.ts";
import type { Staging } from "../device/staging.ts";
import { type CpuCommand, copyCommand, heapOf } from "./commands.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { FAMILIES } from "./families/index.ts";
import type { CpuBuffer, CpuMemory } from "./memory.ts";
import type { CheckedCode } from "./native/self-check.ts";
import type { Pointer } from "./operands.ts";
import { type CpuKernel, type Members, pack, type PlacedPointer, type Values } from "./parameters.ts";
import type { Queue } from "./queue.ts";

/** A recording on the CPU device: families become commands for the workers. */
export class CpuRecording implements Recording, Dispatcher {
  readonly memory: RunMemory;
  readonly staging: Staging;
  readonly threads: number;
  readonly #checked: CheckedCode | undefined;
  readonly #buffers: CpuMemory;
  readonly #queue: Queue | undefined;
  #commands: CpuCommand[] = [];
  /** Stand-ins for what lies in another heap than the command that works on it; the next commands use them again. */
  readonly #doubles: CpuBuffer[] = [];
  /** Those of the command that is being recorded. */
  readonly #used: CpuBuffer[] = [];

  /**
   * @param queue undefined: nothing is ever sent
   * @param checked machine code, which this staging may do without
   */
  constructor(
    memory: RunMemory,
    buffers: CpuMemory,
    queue: Queue | undefined,
    staging: Staging,
    threads: number,
    checked: CheckedCode | undefined,
  ) {
    this.memory = memory;
    this.#buffers = buffers;
    this.#queue = queue;
    this.staging = staging;
    this.threads = threads;
    this.#checked = staging.kind === "cpu" && staging.fma === true ? checked : undefined;
  }

  compute<F extends keyof Families>(family: F, operands: Families[F]): void {
    FAMILIES[family](this, operands);
  }

  has(kernel: CpuKernel<Members>, dtype?: number): boolean {
    return this.#checked?.has(kernel, dtype) ?? false;
  }

  chosen<M extends Members>(kernel: CpuKernel<M>, dtype?: number): CpuKernel<M> {
    return this.has(kernel, dtype) ? { ...kernel, fma: true } : kernel;
  }

  dispatch<M extends Members>(kernel: CpuKernel<M>, values: Values<M>, pieces: number): void {
    const { words, pointers } = pack(kernel, values);
    const heaps = new Set(pointers.map(heapOf));
    if (heaps.size <= 1) {
      this.#commands.push({ kernel, words, pointers, pieces });
      return;
    }
    const home = heapOf(pointers.reduce((one, other) => (other.size > one.size ? other : one)));
    // Of a buffer once, whatever views of it a command has: their rows may lie between each other's.
    const others = Map.groupBy(pointers, ({ buffer }) => buffer);
    const copies: CpuCommand[] = [];
    const back: CpuCommand[] = [];
    const moved: PlacedPointer[] = [];
    for (const [buffer, views] of others) {
      const [first] = views;
      if (first === undefined) continue;
      if (heapOf(first) === home) {
        moved.push(...views);
        continue;
      }
      const offset = Math.min(...views.map((view) => view.offset));
      const size = Math.max(...views.map((view) => view.offset + view.size)) - offset;
      const there: Pointer = { buffer, offset, size, access: "write" };
      const double: Pointer = { buffer: this.#double(there, home), offset: 0, size, access: "write" };
      copies.push(copyCommand(there, double));
      if (views.some(({ access }) => access !== "read")) back.push(copyCommand(double, there));
      moved.push(...views.map((view) => ({ ...view, buffer: double.buffer, offset: view.offset - offset })));
    }
    for (const { word, offset } of moved) words[word] = offset;
    this.#commands.push(...copies, { kernel, words, pointers: moved, pieces }, ...back);
    this.#doubles.push(...this.#used.splice(0));
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
    for (const buffer of [...this.#doubles.splice(0), ...this.#used.splice(0)]) this.#buffers.release(buffer);
  }

  /** The smallest one of a command before that will do, or a new one; this command's own until it is recorded. */
  #double({ buffer, size }: Pointer, heap: number): CpuBuffer {
    let best = -1;
    for (const [index, double] of this.#doubles.entries()) {
      if (double.block?.heap !== heap || double.size < size) continue;
      if (best < 0 || double.size < (this.#doubles[best]?.size ?? 0)) best = index;
    }
    const [found] = best < 0 ? [] : this.#doubles.splice(best, 1);
    const double = found ?? this.#buffers.allocate(`${buffer.label} in heap ${heap}`, size, heap);
    this.#used.push(double);
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

  get count(): number {
    return this.#list.length;
  }

  async send(): Promise<void> {
    await this.#queue?.send(this.#list);
  }
}
