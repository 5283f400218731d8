/** Tokens of a piece of a prompt beside which texts are written at least: fewer take hardly less time. */
const LEAST = 32;
/** A piece takes as long as so many steps of the texts that wait for it: a token that comes behind one takes three times as long as another. */
const STEPS = 2;
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

  /**
   * Tokens that are read before the next step.
   * @param ahead tokens that were read since the last step
   */
  piece(isWaitedFor: boolean, ahead = 0): number {
    const each = isWaitedFor ? Math.round((STEPS * (this.#step ?? 0)) / (this.#token ?? Infinity)) : this.#block;
    return Math.max(LEAST, Math.min(each, this.#block) - ahead);
  }

  /** Takes the time of a step of running texts, in any unit. */
  stepped(time: number): void {
    this.#step = smoothed(this.#step, time);
  }

  /** Takes the time of a pass over so many tokens of a prompt, in the same unit. */
  read(time: number, tokens: number): void {
    this.#token = smoothed(this.#token, time / tokens);
  }
}

function smoothed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + (now - before) * NEW;
}
