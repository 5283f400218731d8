// One worker of the CPU device: runs the lists of commands that the host sends, piece by piece, until it is told to end.
import { routineKernels } from "./native/kernels/index.ts";
import type { Code } from "./native/caller.ts";
import { numberedKernels } from "./native/kernels/names.ts";
import { type NativeCode, nativeCode, wasmRoutines } from "./native/on-demand.ts";
import {
  COMMAND,
  COMMAND_WORDS,
  CONTROL,
  COPY,
  COPY_PIECE,
  FENCE,
  FENCE_WORDS,
  FILL,
  FILL_KERNEL,
  FIRST_COUNT,
  SCRATCH_BYTES,
  slotOf,
  TICKS_A_SECOND,
  type WorkerHeap,
  type WorkerMessage,
  type WorkerStart,
} from "./layout.ts";

/** Computes one piece of a command; `again` after another of it. */
type Kernel = (parameters: number, piece: number, scratch: number, again: boolean) => void;

/** Looks at what a worker waits for before it sleeps: some five microseconds. */
const SPINS = 2000;

declare const self: Worker;

/** Machine code as this worker sees it. */
let code: NativeCode | undefined;

/** Waits until a word is no longer `value`: looks for a while, then sleeps. */
function waitWhile(control: Int32Array, word: number, value: number): void {
  for (let spin = 0; spin < SPINS; spin++) if (Atomics.load(control, word) !== value) return;
  while (Atomics.load(control, word) === value) Atomics.wait(control, word, value);
}

/** A heap as this worker sees it. */
class Heap {
  readonly #memory: WebAssembly.Memory;
  readonly #start: WorkerStart;
  #bytes: Uint8Array;
  #words: Int32Array;
  #kernels: readonly Kernel[] | undefined;

  constructor(start: WorkerStart, memory: WebAssembly.Memory) {
    this.#start = start;
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
  }

  /** The module's functions on this heap. */
  get kernels(): readonly Kernel[] {
    this.#kernels ??= this.#instantiate();
    return this.#kernels;
  }

  /** All of it, up to `end` at least: a heap grows while others compute. */
  bytes(end: number): Uint8Array {
    if (this.#bytes.length < end) this.#bytes = new Uint8Array(this.#memory.buffer);
    return this.#bytes;
  }

  words(endBytes: number): Int32Array {
    if (this.#words.length * 4 < endBytes) this.#words = new Int32Array(this.#memory.buffer);
    return this.#words;
  }

  /** @throws Error where a kernel has written beyond this worker's scratch */
  checkFence(): void {
    const begin = this.#fence;
    for (let at = begin; at < begin + FENCE_WORDS; at++) {
      if (this.#words[at] !== FENCE) throw new Error("it wrote beyond its scratch");
    }
  }

  get #fence(): number {
    return (this.#start.scratch + SCRATCH_BYTES) / 4;
  }

  #instantiate(): Kernel[] {
    const { module, kernels, native, scratch } = this.#start;
    this.#words.fill(FENCE, this.#fence, this.#fence + FENCE_WORDS);
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.#memory } });
    const routines = (code: () => Code) => Object.values(routineKernels(code, this.#memory, scratch, exports));
    const own = [...routines(wasmRoutines), ...kernels.map((name) => exports[name] as Kernel)];
    return native === undefined ? own : [...own, ...routines(() => (code ??= nativeCode(native)))];
  }
}

/** Runs one piece of a command that is no kernel. */
function movePiece(heaps: readonly Heap[], kernel: number, heap: number, parameters: number, piece: number): void {
  const words = heaps[heap]?.words(parameters + 32);
  const word = (at: number) => (words?.[parameters / 4 + at] ?? 0) >>> 0;
  const first = piece * COPY_PIECE;
  if (kernel === FILL_KERNEL) {
    const [at, size] = [word(FILL.at) + first, Math.min(COPY_PIECE, word(FILL.bytes) - first)];
    heaps[heap]?.bytes(at + size).fill(0, at, at + size);
    return;
  }
  const size = Math.min(COPY_PIECE, word(COPY.bytes) - first);
  const [from, to] = [word(COPY.from) + first, word(COPY.to) + first];
  const source = heaps[word(COPY.fromHeap)]?.bytes(from + size).subarray(from, from + size);
  if (source !== undefined) heaps[word(COPY.toHeap)]?.bytes(to + size).set(source, to);
}

/** Runs pieces of a command, as long as there are any that no worker has taken. @returns whether it ran any */
function runCommand(
  start: WorkerStart,
  control: Int32Array,
  heaps: readonly Heap[],
  list: Int32Array,
  command: number,
): boolean {
  const kernel = list[command + COMMAND.kernel] ?? 0;
  const heap = list[command + COMMAND.heap] ?? 0;
  const parameters = (list[command + COMMAND.parameters] ?? 0) >>> 0;
  const pieces = list[command + COMMAND.pieces] ?? 0;
  const begun = start.profile ? performance.now() : 0;
  let took = false;
  try {
    const run = kernel < 0 ? undefined : heaps[heap]?.kernels[kernel];
    for (;;) {
      const piece = Atomics.add(list, command + COMMAND.taken, 1);
      if (piece >= pieces || Atomics.load(control, CONTROL.failed) !== 0) break;
      if (run === undefined) movePiece(heaps, kernel, heap, parameters, piece);
      else run(parameters, piece, start.scratch, took);
      took = true;
    }
    if (run !== undefined) heaps[heap]?.checkFence();
  } catch (error) {
    Atomics.store(control, CONTROL.failed, 1);
    const name = numberedKernels(start.kernels)[kernel] ?? "copy";
    say({ failed: `${name}: ${error instanceof Error ? error.message : String(error)}` });
  }
  if (start.profile) noteTime(list, command + COMMAND.ticks, performance.now() - begun);
  return took;
}

/** Runs a list; returns the commands that all workers have finished. */
function runList(
  start: WorkerStart,
  control: Int32Array,
  heaps: readonly Heap[],
  slot: number,
  before: number,
): number {
  const at = (control[slot] ?? 0) >>> 0;
  const count = control[slot + 1] ?? 0;
  const list = heaps[0]?.words(at + count * COMMAND_WORDS * 4) ?? new Int32Array();
  let finished = before;
  for (let index = 0, next = 0; index < count; index = next) {
    const first = at / 4 + index * COMMAND_WORDS;
    const together = list[first + COMMAND.together] ?? 1;
    next = index + together;
    // Who runs the first of several runs all of them: the others wait once, not for each.
    if (runCommand(start, control, heaps, list, first)) {
      for (let later = 1; later < together; later++) {
        runCommand(start, control, heaps, list, first + later * COMMAND_WORDS);
      }
    }
    finished = arrive(control, start.threads, finished, next >= count);
  }
  return finished;
}

/** Heaps that have arrived, and what goes on when another does. */
const arrived: WebAssembly.Memory[] = [];
let goOn = (): void => {};

async function work(start: WorkerStart): Promise<void> {
  const control = new Int32Array(start.control);
  arrived.unshift(...start.heaps);
  const heaps = arrived.map((memory) => new Heap(start, memory));
  const [home] = heaps;
  if (home === undefined || home.kernels.length === 0) throw new Error("no kernels");
  say({ ready: true });
  let finished = FIRST_COUNT;
  for (let lists = FIRST_COUNT; ; lists = (lists + 1) | 0) {
    waitWhile(control, CONTROL.sent, lists);
    if (Atomics.load(control, CONTROL.closed) !== 0) return;
    while (heaps.length < Atomics.load(control, CONTROL.heaps)) {
      // Messages come only while this waits.
      if (arrived.length === heaps.length) await new Promise<void>((resolve) => (goOn = resolve));
      heaps.push(...arrived.slice(heaps.length).map((memory) => new Heap(start, memory)));
    }
    finished = runList(start, control, heaps, slotOf(lists), finished);
  }
}

/** Keeps the longest time of all workers, before the host can hear of it. */
function noteTime(list: Int32Array, word: number, milliseconds: number): void {
  const ticks = Math.min(2 ** 31 - 1, Math.round((milliseconds / 1000) * TICKS_A_SECOND));
  for (let before = Atomics.load(list, word); before < ticks;) {
    const seen = Atomics.compareExchange(list, word, before, ticks);
    if (seen === before) return;
    before = seen;
  }
}

/** Waits until all workers have finished a command; the last one of a list says that the list is done. */
function arrive(control: Int32Array, threads: number, finished: number, isLast: boolean): number {
  const next = (finished + 1) | 0;
  if (Atomics.add(control, CONTROL.arrived, 1) === threads - 1) {
    Atomics.store(control, CONTROL.arrived, 0);
    if (isLast) {
      Atomics.add(control, CONTROL.done, 1);
      Atomics.notify(control, CONTROL.done);
    }
    Atomics.store(control, CONTROL.finished, next);
    Atomics.notify(control, CONTROL.finished);
  } else {
    waitWhile(control, CONTROL.finished, finished);
  }
  return next;
}

function say(message: WorkerMessage): void {
  self.postMessage(message);
}

function fail(error: unknown): void {
  say({ failed: error instanceof Error ? error.message : String(error) });
}

self.addEventListener("message", ({ data }: MessageEvent<WorkerStart | WorkerHeap>) => {
  if ("heap" in data) {
    arrived.push(data.heap);
    goOn();
  } else work(data).catch(fail);
});
