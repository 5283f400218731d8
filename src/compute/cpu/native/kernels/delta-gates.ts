import { GATED_DELTA } from "../../families/gated-delta.ts";
import { wordsOf } from "../../parameters.ts";
import type { Caller } from "../caller.ts";

/** Words of parameters, which those of the gradients begin with. */
const AT = wordsOf(GATED_DELTA);
type Word = (index: number) => number;

/** Of a token and a head. */
interface Gate {
  readonly beta: number;
  /** What is left of a state: exp(−A · softplus(x)). */
  readonly left: number;
  /** Of its logarithm, by x. */
  readonly slope: number;
}

/** All of the heap's numbers that there are now: operands are among them, and it may grow meanwhile. */
export function numbersOf(on: Caller): Float32Array {
  return new Float32Array(on.words(Infinity).buffer);
}

export function gateOf(numbers: Float32Array, word: Word, token: number, head: number): Gate {
  const gates = (word(AT.gates) + token * word(AT.gatesPitch)) / 4 + head;
  const [decays, heads] = [word(AT.decays) / 4 + head, word(AT.heads)];
  const rate = Math.exp(numbers[decays] ?? 0);
  const x = (numbers[gates + heads] ?? 0) + (numbers[decays + heads] ?? 0);
  return {
    beta: 1 / (1 + Math.exp(-(numbers[gates] ?? 0))),
    left: Math.exp(-rate * (Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))))),
    slope: -rate / (1 + Math.exp(-x)),
  };
}

/** The row that a token's text begins at. */
export function firstOf(on: Caller, word: Word, token: number): number {
  const firsts = word(AT.first);
  return firsts === 0 ? 0 : (on.words(firsts + token * 4 + 4)[firsts / 4 + token] ?? 0);
}
