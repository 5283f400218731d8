import { RandloraError } from "../../files/errors.ts";

/** Words of state; one twist makes as many outputs. */
const WORDS = 624;
const MIDDLE = 397;
const LOW_31_BITS = 0x7fffffff;
const TWIST = 0x9908b0df | 0;

/** Next word of the recurrence from the upper bit of `high`, the lower bits of `low`, and the word 397 places on. */
function twistWord(high: number, low: number, middle: number): number {
  const y = (high & ~LOW_31_BITS) | (low & LOW_31_BITS);
  return middle ^ (y >>> 1) ^ (-(y & 1) & TWIST);
}

/** The outputs of `count` state words. A function of its own, because JavaScriptCore compiles the bare loop five times faster. */
function temper(state: Int32Array, from: number, out: Uint32Array, to: number, count: number): void {
  for (let i = 0; i < count; i++) {
    let y = state[from + i] as number;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    out[to + i] = y ^ (y >>> 18);
  }
}

/**
 * The 32-bit seed that PyTorch's CPU generator makes of a 64-bit one: `manual_seed` adds 2^64 to a negative seed, and
 * MT19937 takes the low 32 bits.
 * @throws RandloraError `adapter` where `manual_seed` would refuse the seed.
 */
export function mt19937Seed(key: bigint): number {
  if (key < -(2n ** 63n) || key >= 2n ** 64n) {
    throw new RandloraError(
      "adapter",
      `the basis seed ${key} is not a 64-bit number`,
      "choose a seed between -2^63 and 2^64 - 1",
    );
  }
  return Number(BigInt.asUintN(32, key));
}

/** MT19937 as PyTorch's CPU generator draws it (at::mt19937, the reference algorithm of Matsumoto and Nishimura). */
export class Mt19937 {
  // Signed words: JavaScriptCore keeps them in integer registers, where unsigned ones may become doubles.
  readonly #state = new Int32Array(WORDS);
  #next = WORDS;

  /** @param key any 64-bit seed, `projection_prng_key` as it stands in the file; see {@link mt19937Seed}. */
  constructor(key: bigint) {
    const state = this.#state;
    let word = mt19937Seed(key) | 0;
    state[0] = word;
    for (let i = 1; i < WORDS; i++) {
      word = (Math.imul(1812433253, word ^ (word >>> 30)) + i) | 0;
      state[i] = word;
    }
  }

  /** An independent generator in the same state. */
  clone(): Mt19937 {
    const copy = new Mt19937(0n);
    copy.#state.set(this.#state);
    copy.#next = this.#next;
    return copy;
  }

  /** Writes the next `end − start` outputs, each 32 random bits, to `out[start..end)`. */
  draw(out: Uint32Array, start = 0, end = out.length): void {
    const state = this.#state;
    let at = start;
    while (at < end) {
      if (this.#next === WORDS) this.#twist();
      const count = Math.min(WORDS - this.#next, end - at);
      temper(state, this.#next, out, at, count);
      at += count;
      this.#next += count;
    }
  }

  /** Passes over `count` outputs (a whole number, up to 2^53): what `draw` would have done, without tempering or storing. */
  skip(count: number): void {
    let left = count;
    while (left > WORDS - this.#next) {
      left -= WORDS - this.#next;
      this.#twist();
    }
    this.#next += left;
  }

  #twist(): void {
    const state = this.#state;
    let high = state[0] as number;
    for (let i = 0; i < WORDS - MIDDLE; i++) {
      const low = state[i + 1] as number;
      state[i] = twistWord(high, low, state[i + MIDDLE] as number);
      high = low;
    }
    for (let i = WORDS - MIDDLE; i < WORDS - 1; i++) {
      const low = state[i + 1] as number;
      state[i] = twistWord(high, low, state[i + MIDDLE - WORDS] as number);
      high = low;
    }
    state[WORDS - 1] = twistWord(high, state[0] as number, state[MIDDLE - 1] as number);
    this.#next = 0;
  }
}
