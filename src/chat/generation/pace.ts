/** Tokens of a piece at least: fewer are more work for each, as every pass reads all keys and values of the prompt, and all weights where it has them alone. */
export const LEAST = 16;
/** A piece takes as long as so many steps of the texts beside it: whoever reads them waits for both. */
const STEPS = 2;
/** Part of a new measurement in what is known of a step. */
const NEW = 1 / 4;
/** What is left of a piece's measurement when the next one comes: prompts of many lengths are needed to tell tokens from keys. */
const KEPT = 31 / 32;

/** How long the pieces of prompts may be that texts wait for, by what passes have taken. No text depends on it. */
export class Pace {
  readonly #block: number;
  #step: number | undefined;
  /** Sums over pieces of products of their tokens, their keys and their times, for the least squares of time = a · tokens + b · keys. */
  #sums = { tokensTokens: 0, tokensKeys: 0, keysKeys: 0, tokensTime: 0, keysTime: 0 };

  /** @param block tokens of a piece that nobody waits for */
  constructor(block: number) {
    this.#block = block;
  }

  /** Tokens that are read before the next step, of a prompt of which so many have been. */
  piece(isWaitedFor: boolean, position: number): number {
    if (!isWaitedFor) return this.#block;
    const { token, key } = this.#times();
    const each = token + key * position;
    return Math.max(LEAST, Math.min(Math.round((STEPS * (this.#step ?? 0)) / (each || Infinity)), this.#block));
  }

  /**
   * Takes the time of a pass, in any unit: over so many tokens of a prompt, or a step of running texts, or both.
   * @param keys that these tokens see, all together
   */
  passed(time: number, isStep: boolean, tokens: number, keys: number): void {
    if (tokens === 0) {
      this.#step = this.#step === undefined ? time : this.#step + (time - this.#step) * NEW;
      return;
    }
    // Longer pieces take less for each token, a few far more.
    if (tokens < LEAST) return;
    const own = isStep ? Math.max(time - (this.#step ?? 0), time / 4) : time;
    const { tokensTokens, tokensKeys, keysKeys, tokensTime, keysTime } = this.#sums;
    this.#sums = {
      tokensTokens: KEPT * tokensTokens + tokens * tokens,
      tokensKeys: KEPT * tokensKeys + tokens * keys,
      keysKeys: KEPT * keysKeys + keys * keys,
      tokensTime: KEPT * tokensTime + tokens * own,
      keysTime: KEPT * keysTime + keys * own,
    };
  }

  /** What a token takes by itself, and more for each key that it sees; 0 where nothing is known. */
  #times(): { readonly token: number; readonly key: number } {
    const { tokensTokens, tokensKeys, keysKeys, tokensTime, keysTime } = this.#sums;
    const determinant = tokensTokens * keysKeys - tokensKeys * tokensKeys;
    const key = (tokensTokens * keysTime - tokensKeys * tokensTime) / determinant;
    // All pieces stood in one place, or what was measured says that keys take no time.
    if (!(determinant > 1e-3 * tokensTokens * keysKeys) || key < 0) {
      return { token: tokensTime / (tokensTokens || Infinity), key: 0 };
    }
    const token = (keysKeys * tokensTime - tokensKeys * keysTime) / determinant;
    return token > 0 ? { token, key } : { token: 0, key: keysTime / keysKeys };
  }
}
