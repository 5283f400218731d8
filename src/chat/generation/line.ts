import { Active, TURN } from "./active.ts";
import type { Sequence } from "./sequence.ts";

export interface LineOptions {
  /** Maximum number of rows in a batch: a sequence takes as many as it has beams. */
  readonly rows: number;
  /** Whole prompts of all before the next token of any, and no turns: nobody watches. */
  readonly promptsFirst?: boolean | undefined;
}

/** Which of a loop's sequences have the rows of its batch, and whose turn is next. No text depends on it. */
export class Line {
  /** Whole prompts of all come before the next token of any. */
  readonly isWholeFirst: boolean;
  readonly #most: number;
  /** Those that wait in the order of their turns, those whose prompts are computed in the order of theirs. */
  #all: readonly Active[] = [];
  /** Rows that may be taken: fewer than there are where there was no room for more. */
  #rows: number;
  #begun = 0;
  #steps = 0;
  /** Who has had a turn before is next, and then one who has not. */
  #isOldTurn = false;

  constructor({ rows, promptsFirst = false }: LineOptions) {
    this.isWholeFirst = promptsFirst;
    this.#most = rows;
    this.#rows = rows;
  }

  get all(): readonly Active[] {
    return this.#all;
  }

  get running(): readonly Active[] {
    return this.#all.filter(({ isRunning }) => isRunning);
  }

  /** Those that run whose prompts have not been computed; the one whose turn it is comes first. */
  get prefilling(): readonly Active[] {
    return this.running.filter(({ isPrompted }) => !isPrompted);
  }

  /** Those that run whose prompts have been computed, which have chosen from their logits, and of which somebody takes what comes. */
  get decoding(): readonly Active[] {
    return this.running.filter(({ isPrompted, isLate, sequence }) => isPrompted && !isLate && !sequence.out.isFull);
  }

  /** Those that wait for a turn; one of which nobody takes what comes does not. */
  get waiting(): readonly Active[] {
    return this.#all.filter(({ isRunning, sequence }) => !isRunning && !sequence.out.isFull);
  }

  /** Rows of a batch that are free. */
  get rowsLeft(): number {
    const { running } = this;
    // One that takes several rows may be next when all that had them have had their turns.
    const rows = running.length === 0 ? this.#most : this.#rows;
    return running.reduce((left, { sequence }) => left - sequence.beams, rows);
  }

  /** May one begin, if there is room for what it needs? */
  get isOpen(): boolean {
    return this.rowsLeft > 0 || this.#over.length > 0;
  }

  /** Takes a sequence, which waits for its turn. */
  add(sequence: Sequence): Active {
    const { beams } = sequence;
    if (beams > this.#most) throw new RangeError(`${beams} beams in a batch of ${this.#most} rows`);
    const active = new Active(sequence);
    this.#all = [...this.#all, active];
    return active;
  }

  remove(active: Active): void {
    // What had no slots leaves no room.
    if (active.slots.length > 0) this.#rows = this.#most;
    this.#all = this.#all.filter((other) => other !== active);
  }

  /** The one whose turn it is. @param others gives one that is not in the line yet, and is asked where one that has had no turn may begin */
  async next(others: (() => Promise<Sequence | undefined>) | undefined): Promise<Active | undefined> {
    const fresh = this.waiting.find(({ due }) => due === 0);
    if (fresh !== undefined) return fresh;
    const [old] = this.waiting;
    if (this.#isOldTurn && old !== undefined && old.due <= this.#steps) return old;
    const sequence = await others?.();
    return sequence === undefined ? old : this.add(sequence);
  }

  begin(active: Active): void {
    active.begin(this.#begun++);
    this.#isOldTurn = active.due === 0;
    this.toEnd(active);
  }

  /** Puts one that has had its turn behind all that wait, for another one's. @returns whether there is one */
  pauseFor({ due }: Active): boolean {
    const over = this.#over.find(({ sequence }) => due <= this.#steps || sequence.out.isFull);
    over?.pause(this.#steps + TURN);
    if (over !== undefined) this.toEnd(over);
    return over !== undefined;
  }

  /** Puts one that has given up its slots before all that wait. */
  giveWay(active: Active): void {
    this.shrink();
    this.#all = [active, ...this.#all.filter((other) => other !== active)];
  }

  /** There is no room for more: until one has ended, no more rows are taken than are taken now. */
  shrink(): void {
    if (this.running.length > 0) this.#rows -= Math.max(0, this.rowsLeft);
  }

  /** Counts a step of the loop. */
  step(): void {
    this.#steps += 1;
  }

  toEnd(active: Active): void {
    this.#all = [...this.#all.filter((other) => other !== active), active];
  }

  /** Those whose rows others may have, in the order in which they began. */
  get #over(): readonly Active[] {
    if (this.isWholeFirst) return [];
    return this.running.filter(({ isOver }) => isOver).toSorted((left, right) => left.number - right.number);
  }
}
