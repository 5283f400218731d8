import type { Caller, ParameterWords } from "../caller.ts";
import { GATED_DELTA } from "../../families/gated-delta.ts";
import { wordsOf } from "../../parameters.ts";

/** Words of parameters, which those of the gradients begin with. */
const AT = wordsOf(GATED_DELTA);

/** All of the heap's numbers that there are now: operands are among them, and it may grow meanwhile. */
export function numbersOf(on: Caller): Float32Array {
  return new Float32Array(on.words(Infinity).buffer);
}

/** The row that a token's text begins at. */
export function firstOf(on: Caller, word: ParameterWords, token: number): number {
  const firsts = word(AT.first);
  return firsts === 0 ? 0 : (on.words(firsts + token * 4 + 4)[firsts / 4 + token] ?? 0);
}
