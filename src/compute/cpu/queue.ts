import type { CpuCommand } from "./commands.ts";
import type { Crew } from "./crew.ts";
import { type EncodedList, encode } from "./encode.ts";
import type { Heaps } from "./heap.ts";
import { CONTROL, FIRST_COUNT, MOST_LISTS, slotOf } from "./layout.ts";
import { ListBlocks, type ListRoom, SPARE_ROOM } from "./list-blocks.ts";
import { cpuBuffer } from "./memory.ts";
import { Profiler } from "./profiler.ts";

/** Commands for the workers. */
interface Sent {
  readonly number: number;
  /** The last entry that may have to do with what they use. */
  readonly after: number;
  readonly commands: readonly CpuCommand[];
}

/** Something that the host does when all entries up to `after` have happened. */
interface Task {
  readonly number: number;
  readonly after: number;
  readonly run: () => void;
}

/** A list that workers have, or will come to. */
interface Running {
  readonly number: number;
  readonly commands: readonly CpuCommand[];
  readonly list: EncodedList;
  /** What it lies in. */
  readonly room: ListRoom;
}

/** Entries that may wait before a sender has to. */
const MOST_WAITING = 64;

/**
 * What was asked of the device, numbered in order. Workers run lists of commands by themselves, one after the other, while the host does
 * what has to do with buffers of earlier ones; commands wait for tasks that may concern what they use, and for no others.
 */
export class Queue {
  readonly #heaps: Heaps;
  readonly #lists: ListBlocks;
  readonly #crew: Crew;
  readonly #waiting: Sent[] = [];
  readonly #tasks: Task[] = [];
  /** Lists that workers have or will come to, oldest first. */
  readonly #running: Running[] = [];
  readonly #profiler: Profiler | undefined;
  /** Entries so far. */
  #last = 0;
  #watching: Promise<void> | undefined;
  /** Lists handed to workers, as the control block counts them. */
  #handed = FIRST_COUNT;

  /** @param profile whether workers measure, for `profiler` */
  constructor(heaps: Heaps, crew: Crew, profile: boolean) {
    this.#heaps = heaps;
    this.#lists = new ListBlocks(heaps);
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

  /** The last entry with which all before it have happened. */
  get #done(): number {
    const next = [this.#running[0], this.#waiting[0], this.#tasks[0]].map((entry) => entry?.number ?? this.#last + 1);
    return Math.min(...next) - 1;
  }

  /** Adds commands. Resolves when more may be added, not when they have run. @throws RandloraError `gpu` */
  async send(commands: readonly CpuCommand[]): Promise<void> {
    this.add(commands);
    while (this.#waiting.length + this.#tasks.length > MOST_WAITING && this.#watching !== undefined)
      await this.#watching;
    this.#crew.check();
  }

  /** Adds commands at once, each of one piece at least. */
  add(commands: readonly CpuCommand[]): void {
    if (commands.length === 0) return;
    const number = ++this.#last;
    let after = 0;
    for (const { pointers } of commands) {
      for (const { buffer } of pointers) after = Math.max(after, cpuBuffer(buffer).busy);
    }
    for (const { pointers } of commands) for (const { buffer } of pointers) cpuBuffer(buffer).busy = number;
    this.#waiting.push({ number, after, commands });
    this.#pump();
    const rest = this.#waiting.at(-1);
    if (rest?.number !== number) return;
    // Words may change for the next sending while commands wait.
    const held = rest.commands.map((command) => ({ ...command, words: command.words.slice() }));
    this.#waiting.splice(-1, 1, { ...rest, commands: held });
  }

  /**
   * Has the host do something when entries up to `after` have happened: all so far by default.
   * @returns its number, for buffers that it uses
   */
  next(run: () => void, after = this.#last): number {
    const number = ++this.#last;
    this.#tasks.push({ number, after, run });
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
      this.#tasks.length = 0;
      return;
    }
    while (!this.#crew.isOver && (this.#handNext() || this.#runTask()));
    if (this.#running.length > 0 && this.#watching === undefined) {
      this.#watching = this.#watch();
    }
  }

  /** Does the first task that can be done now. @returns whether there is one */
  #runTask(): boolean {
    const done = this.#done;
    const index = this.#tasks.findIndex(({ after }) => after <= done);
    const [task] = index < 0 ? [] : this.#tasks.splice(index, 1);
    task?.run();
    return task !== undefined;
  }

  /** Hands the next commands to the workers, if these may begin. @returns whether they may */
  #handNext(): boolean {
    const [first] = this.#waiting;
    const [task] = this.#tasks;
    if (first === undefined || this.#running.length >= MOST_LISTS) return false;
    if (task !== undefined && task.number <= first.after) return false;
    const { number, commands } = first;
    const list = this.#encode(this.#lists, commands);
    if (list !== undefined) {
      this.#hand({ number, commands, list, room: this.#lists });
      this.#waiting.shift();
      return true;
    }
    // There will be room when what runs has run.
    if (this.#running.length > 0) return false;
    const some = this.#encodeSome(number, commands);
    this.#hand(some);
    const rest = commands.slice(some.commands.length);
    if (rest.length === 0) this.#waiting.shift();
    else this.#waiting[0] = { ...first, commands: rest };
    return true;
  }

  /** As many of the first commands as there is always room for, where nothing runs. */
  #encodeSome(number: number, commands: readonly CpuCommand[]): Running {
    for (let count = commands.length; count > 0; count = Math.floor(count / 2)) {
      const some = commands.slice(0, count);
      const list = this.#encode(SPARE_ROOM, some);
      if (list !== undefined) return { number, commands: some, list, room: SPARE_ROOM };
    }
    throw new RangeError("a command is larger than what is kept for it");
  }

  #hand(running: Running): void {
    const { control } = this.#crew;
    const { list } = running;
    const slot = slotOf(this.#handed);
    control[slot] = list.at;
    control[slot + 1] = list.count;
    this.#handed = (this.#handed + 1) | 0;
    this.#running.push(running);
    Atomics.store(control, CONTROL.sent, this.#handed);
    Atomics.notify(control, CONTROL.sent);
  }

  /** Commands as workers read them; undefined where there is no room. */
  #encode(room: ListRoom, commands: readonly CpuCommand[]): EncodedList | undefined {
    return encode(this.#heaps, room, this.#crew.kernelNumbers, commands, this.#done);
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
    const before = this.#running.length;
    while (this.#running.length > ((this.#handed - done) | 0)) {
      const first = this.#running.shift();
      if (first === undefined) break;
      this.#profiler?.add(first.commands, first.list.words);
      first.room.give(first.list.blocks);
    }
    if (this.#running.length < before) this.#pump();
  }
}
