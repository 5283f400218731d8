import type { Run } from "./program.ts";
import { unitsAt, unitsBefore } from "./set.ts";

/**
 * What is known of one run of characters in one text: how far it reached, so that it need not be walked again, and at
 * which ends what follows it failed. Both hold wherever the run begins.
 */
export class RunState {
  readonly lazy: boolean;
  /** Set by `reach`: where the shortest run ends, and how many characters were walked. */
  least = 0;
  walked = 0;
  readonly #run: Run;
  readonly #text: string;
  #from = -1;
  #to = -1;
  #lowestFailed = -1;
  #highestFailed = -1;

  constructor(run: Run, text: string) {
    this.#run = run;
    this.#text = text;
    this.lazy = run.lazy;
  }

  /** @returns the end of the longest run from `at`, or -1 where it is too short */
  reach(at: number): number {
    const { set, min, max } = this.#run;
    const text = this.#text;
    const from = this.#from;
    this.walked = 0;
    if (max === Infinity && min <= 1 && from >= 0 && at >= from && at < this.#to) {
      this.least = min === 0 ? at : at + unitsAt(text, at);
      return this.#to;
    }
    let count = 0;
    let end = at;
    this.least = at;
    while (count < max) {
      if (end === from && max === Infinity && count >= min) {
        end = this.#to;
        break;
      }
      const units = set.at(text, end);
      if (units === 0) break;
      end += units;
      count++;
      if (count === min) this.least = end;
    }
    this.walked = count;
    if (count < min) return -1;
    if (max === Infinity) {
      this.#from = at;
      this.#to = end;
    }
    return end;
  }

  /** What follows fails at every end from `first` to `last`. */
  noteFailed(first: number, last: number): void {
    const touches = this.#lowestFailed >= 0 && first <= this.#highestFailed && last >= this.#lowestFailed;
    this.#lowestFailed = touches ? Math.min(this.#lowestFailed, first) : first;
    this.#highestFailed = touches ? Math.max(this.#highestFailed, last) : last;
  }

  /** `end`, or the next lower one that may not fail; -1 before the text. */
  skipDown(end: number): number {
    const low = this.#lowestFailed;
    if (low < 0 || end < low || end > this.#highestFailed) return end;
    return low === 0 ? -1 : low - unitsBefore(this.#text, low);
  }

  /** `end`, or the next higher one that may not fail. */
  skipUp(end: number): number {
    const high = this.#highestFailed;
    return this.#lowestFailed < 0 || end < this.#lowestFailed || end > high ? end : high + unitsAt(this.#text, high);
  }
}

/** Pairs that are remembered. */
const MOST_KNOWN = 4096;

/** Compares texts without case as native expressions do: they are asked once for each pair of characters. */
export class Letters {
  /** How often an expression had to be compiled. */
  asked = 0;
  readonly #known = new Map<number, boolean>();

  /** @param a as long as `b`, in UTF-16 units */
  same(a: string, b: string): boolean {
    for (let at = 0; at < a.length;) {
      const left = a.codePointAt(at) ?? 0;
      const right = b.codePointAt(at) ?? 0;
      if (left !== right && !this.#sameLetter(left, right)) return false;
      at += left > 0xffff ? 2 : 1;
    }
    return true;
  }

  #sameLetter(left: number, right: number): boolean {
    const pair = left * 0x110000 + right;
    let same = this.#known.get(pair);
    if (same === undefined) {
      this.asked++;
      same = new RegExp(`^\\u{${left.toString(16)}}$`, "iu").test(String.fromCodePoint(right));
      if (this.#known.size >= MOST_KNOWN) this.#known.clear();
      this.#known.set(pair, same);
    }
    return same;
  }
}
