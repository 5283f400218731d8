/** What a piece of a prompt may take beside which texts are written. */
export interface Share {
  /** Tokens at least: fewer are more work for each, as every pass reads all weights. */
  readonly least: number;
  /** It takes as long as so many steps of the texts. */
  readonly steps: number;
}

/** While nobody waits for a turn there is time to spare: short pieces, which take more of it, keep the times between tokens even. */
export const EVEN: Share = { least: 12, steps: 1.5 };
/** Where somebody waits more is to be done in the same time. */
export const BUSY: Share = { least: 24, steps: 2 };
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
   * @param share undefined: no text is written
   * @param ahead tokens that were read since the last step
   */
  piece(share: Share | undefined, ahead = 0): number {
    const { least, steps } = share ?? BUSY;
    const each =
      share === undefined ? this.#block : Math.round((steps * (this.#step ?? 0)) / (this.#token ?? Infinity));
    return Math.max(least, Math.min(each, this.#block) - ahead);
  }

  /** Takes the time of a step of running texts, in any unit. */
  stepped(time: number): void {
    this.#step = smoothed(this.#step, time);
  }

  /** Takes the time of a pass over so many tokens of a prompt that texts waited for, in the same unit: longer ones take less for each, a few far more. */
  read(time: number, tokens: number): void {
    if (tokens >= EVEN.least) this.#token = smoothed(this.#token, time / tokens);
  }
}

function smoothed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + (now - before) * NEW;
}
