import { RandloraError } from "../../files/errors.ts";
import type { CpuCommand } from "./commands.ts";
import type { Crew } from "./crew.ts";
import { type EncodedList, encode } from "./encode.ts";
import type { Heaps } from "./heap.ts";
import { CONTROL, FIRST_COUNT, MOST_LISTS, slotOf } from "./layout.ts";
import { cpuBuffer } from "./memory.ts";
import { Profiler } from "./profiler.ts";

/** Something that happens in its turn: commands for the workers, or a task of the host while they wait. */
type Entry = { readonly number: number } & (
  | { readonly commands: readonly CpuCommand[] }
  | { readonly task: () => void }
);

/** A list that workers have, or will come to. */
interface Running {
  readonly number: number;
  readonly commands: readonly CpuCommand[];
  readonly list: EncodedList;
}

/** Entries that may wait before a sender has to. */
const MOST_WAITING = 64;

/**
 * What was asked of the device, in order. Workers run lists of commands by themselves, one after the other; tasks of the
 * host run when all before them has run and nothing behind them has begun.
 */
export class Queue {
  readonly #heaps: Heaps;
  readonly #crew: Crew;
  readonly #waiting: Entry[] = [];
  /** Lists that workers have or will come to, oldest first. */
  readonly #running: Running[] = [];
  readonly #profiler: Profiler | undefined;
  /** Entries so far; the last that has happened. */
  #last = 0;
  #done = 0;
  #watching: Promise<void> | undefined;
  /** Lists handed to workers, as the control block counts them. */
  #handed = FIRST_COUNT;

  /** @param profile whether workers measure, for `profiler` */
  constructor(heaps: Heaps, crew: Crew, profile: boolean) {
    this.#heaps = heaps;
    this.#crew = crew;
    this.#profiler = profile ? new Profiler(() => this.settle()) : undefined;
  }

  get profiler(): Profiler | undefined {
    return this.#profiler;
  }

  /** Has everything happened that uses what was last used by entry `number`? */
  isDone(number: number): boolean {
    return number <= this.#done;
  }

  /** Adds commands. Resolves when more may be added, not when they have run. @throws RandloraError `gpu` */
  async send(commands: readonly CpuCommand[]): Promise<void> {
    this.add(commands);
    while (this.#waiting.length > MOST_WAITING && this.#watching !== undefined) await this.#watching;
    this.#crew.check();
  }

  /** Adds commands at once, each of one piece at least. */
  add(commands: readonly CpuCommand[]): void {
    if (commands.length === 0) return;
    const number = ++this.#last;
    for (const { pointers } of commands) for (const { buffer } of pointers) cpuBuffer(buffer).busy = number;
    // Words may change for the next sending while commands wait.
    const waits = this.#waiting.length > 0 || this.#running.length >= MOST_LISTS;
    const held = waits ? commands.map((command) => ({ ...command, words: command.words.slice() })) : commands;
    this.#waiting.push({ number, commands: held });
    this.#pump();
  }

  /**
   * Has the host do something in turn: `task` is called when everything before it has run.
   * @returns its number, for buffers that it uses
   */
  next(task: () => void): number {
    const number = ++this.#last;
    this.#waiting.push({ number, task });
    this.#pump();
    return number;
  }

  /** Waits until everything so far has happened. @throws RandloraError `gpu` */
  async settle(): Promise<void> {
    this.#crew.check();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.next(resolve);
    await this.#crew.settle(promise);
  }

  /** Hands on what can happen now. */
  #pump(): void {
    if (this.#crew.isOver) {
      this.#waiting.length = 0;
      return;
    }
    for (;;) {
      const [entry] = this.#waiting;
      if (entry === undefined || this.#crew.isOver) break;
      if ("task" in entry) {
        if (this.#running.length > 0) break;
        this.#waiting.shift();
        entry.task();
        this.#done = entry.number;
      } else {
        if (this.#running.length >= MOST_LISTS) break;
        this.#waiting.shift();
        this.#hand(entry.number, entry.commands);
      }
    }
    if (this.#running.length > 0 && this.#watching === undefined) {
      this.#watching = this.#watch();
    }
  }

  #hand(number: number, commands: readonly CpuCommand[]): void {
    const { control } = this.#crew;
    const list = this.#encode(commands);
    if (list === undefined) return;
    const slot = slotOf(this.#handed);
    control[slot] = list.at;
    control[slot + 1] = list.count;
    this.#handed = (this.#handed + 1) | 0;
    this.#running.push({ number, commands, list });
    Atomics.store(control, CONTROL.sent, this.#handed);
    Atomics.notify(control, CONTROL.sent);
  }

  /** Commands as workers read them; undefined where there is no room, which ends everything. */
  #encode(commands: readonly CpuCommand[]): EncodedList | undefined {
    try {
      return encode(this.#heaps, this.#crew.kernelNumbers, commands, this.#done);
    } catch (thrown) {
      if (!(thrown instanceof RandloraError)) throw thrown;
      this.#crew.fail(thrown);
      return undefined;
    }
  }

  /** Until workers have done what they have: notes what has run, and hands on what waits for it. */
  async #watch(): Promise<void> {
    const { control } = this.#crew;
    await Promise.resolve(); // so that it does not end before it is known to run
    while (this.#running.length > 0 && !this.#crew.isOver) {
      const seen = Atomics.load(control, CONTROL.done);
      // Lists of a worker that has failed are done, but not right; what it says of it is on its way.
      if (Atomics.load(control, CONTROL.failed) === 0) this.#note(seen);
      if (this.#running.length === 0) break;
      await Atomics.waitAsync(control, CONTROL.done, seen).value;
    }
    this.#watching = undefined;
    this.#pump();
  }

  #note(done: number): void {
    let begun = false;
    while (this.#running.length > ((this.#handed - done) | 0)) {
      const first = this.#running.shift();
      if (first === undefined) break;
      this.#done = first.number;
      this.#profiler?.add(first.commands, first.list.words);
      for (const block of first.list.blocks) this.#heaps.give(block, 0);
      begun = true;
    }
    if (begun) this.#pump();
  }
}
