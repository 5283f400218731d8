import type { Sequence } from "./sequence.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-pass.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";

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

/** Steps of a turn: a sequence makes so many tokens before one that waits has its rows. */
export const TURN = 32;
/** Tokens of a prompt that take about as long as a step. */
const TOKENS_OF_STEP = 16;

/** A sequence that a loop has: it runs, or waits for its turn. */
export class Active {
  readonly sequence: Sequence;
  /** It has rows in the batch. */
  isRunning = false;
  /** None before it begins, and where what was computed had to be given up; they stay when its turn has ended. */
  slots: readonly Slot[] = [];
  /** Its place among all that began: the one that began last gives way. */
  number = 0;
  /** Has all of the prompt but its last token been computed, in all slots? */
  isPrompted = false;
  /** Tokens of the prompt that were computed before. */
  cached = 0;
  /** What may follow on each of the prompt's tokens, where that is asked for. */
  logits: readonly PromptLogits[] = [];
  /** The step of the loop from which on it has another turn, at the expense of others; 0: it has had none. */
  due = 0;
  /** In steps: work of this turn, of all that its slots hold, the most that was ever given up, and of a turn. */
  #turn = 0;
  #held = 0;
  #lost = 0;
  #most = TURN;
  /** What it needs beside logits is being found out. */
  #isPreparing = false;
  /** Logits that wait for that. */
  #late: readonly BatchLogits[] | undefined;

  constructor(sequence: Sequence) {
    this.sequence = sequence;
  }

  /** It has had its turn, or nobody takes what it makes. */
  get isOver(): boolean {
    return this.#turn >= this.#most || this.sequence.out.isFull;
  }

  /** Slots lack some of the prompt, or of what others of them hold. */
  get isBroken(): boolean {
    const lengths = this.slots.map(({ length }) => length);
    return Math.min(...lengths) < Math.max(this.sequence.prompt.length - 1, ...lengths);
  }

  /** Is there room for one more token in each slot? */
  get hasRoom(): boolean {
    return this.slots.every(({ length, room }) => length < room);
  }

  /** It has logits, and cannot choose from them yet: it sits out steps of the others. */
  get isLate(): boolean {
    return this.#late !== undefined;
  }

  /** Has the sequence find out what it needs beside logits. @param onReady told when that took longer than these */
  prepare(onReady: () => void): void {
    const preparing = this.#isPreparing ? undefined : this.sequence.prepare?.();
    if (preparing === undefined) return;
    this.#isPreparing = true;
    void preparing.then(() => {
      this.#isPreparing = false;
      if (this.isLate) onReady();
    });
  }

  /** Logits that came. @returns those that it can choose from now; undefined: it keeps them until it can */
  ready(rows: readonly BatchLogits[] | undefined = this.#late): readonly BatchLogits[] | undefined {
    this.#late = this.#isPreparing ? rows : undefined;
    return this.#isPreparing ? undefined : rows;
  }

  begin(number: number): void {
    this.isRunning = true;
    this.number = number;
    this.#turn = 0;
    // What is computed again comes first, and then as much as that at least: less than half of all work is done twice.
    this.#most = TURN + (this.#held === 0 ? 2 * this.#lost : 0);
  }

  /** Counts a step, or tokens of a prompt. */
  count(promptTokens = TOKENS_OF_STEP): void {
    this.#turn += promptTokens / TOKENS_OF_STEP;
    this.#held += promptTokens / TOKENS_OF_STEP;
  }

  /** Its turn has ended. */
  pause(due: number): void {
    this.isRunning = false;
    this.due = due;
  }

  /** Gives up its slots: what was computed is computed again. */
  lose(): readonly Slot[] {
    const { slots } = this;
    this.isRunning = false;
    this.slots = [];
    this.startAnew();
    this.#lost = Math.max(this.#lost, this.#held);
    this.#held = 0;
    return slots;
  }

  startAnew(): void {
    for (const slot of this.slots) slot.truncate(0);
    this.isPrompted = false;
    this.logits = [];
    this.#late = undefined;
  }
}
