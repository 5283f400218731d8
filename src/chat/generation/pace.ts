/** Tokens of a piece at least: fewer are more work for each, as every pass reads all keys and values of the prompt, and all weights where it has them alone. */
export const LEAST = 20;
/** A piece takes as long as so many steps of the texts beside it: whoever reads them waits for both. */
const STEPS = 1.5;
/** Part of a new measurement in what is known of a speed. */
const NEW = 1 / 4;

/** How long the pieces of prompts may be that texts wait for, by what passes have taken. No text depends on it. */
export class Pace {
  readonly #block: number;
  #step: number | undefined;
  #token: number | undefined;

  /** @param block tokens of a piece that nobody waits for */
  constructor(block: number) {
    this.#block = block;
  }

  /** Tokens that are read before the next step. */
  piece(isWaitedFor: boolean): number {
    if (!isWaitedFor) return this.#block;
    const each = Math.round((STEPS * (this.#step ?? 0)) / (this.#token ?? Infinity));
    return Math.max(LEAST, Math.min(each, this.#block));
  }

  /** Takes the time of a pass, in any unit: over so many tokens of a prompt, or a step of running texts, or both. */
  passed(time: number, isStep: boolean, tokens: number): void {
    if (tokens === 0) this.#step = smoothed(this.#step, time);
    // Longer pieces take less for each token, a few far more.
    if (tokens < LEAST) return;
    const own = isStep ? Math.max(time - (this.#step ?? 0), time / 4) : time;
    this.#token = smoothed(this.#token, own / tokens);
  }
}

function smoothed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + (now - before) * NEW;
}
