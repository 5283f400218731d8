import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-pass.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { Sequence } from "./sequence.ts";

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
