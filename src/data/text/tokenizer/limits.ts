import { Charsmap, Precompiled } from "./charsmap.ts";
import { compilePattern } from "./pattern.ts";
import { PartError, Pattern } from "./part.ts";
import * as v from "valibot";

/** Of a pipeline, nested ones counted; real ones have up to 10. */
const MAX_PARTS = 64;
/** How many times as long a pipeline may make a text: each `Replace` multiplies. Real ones are below 20. */
const MAX_GROWTH = 100;

const Replace = v.object({ pattern: Pattern, content: v.string() });
const Prepend = v.object({ prepend: v.string() });
const WordEnd = v.object({ suffix: v.string() });

/**
 * Checks a normalizer, pre-tokenizer, post-processor or decoder as a whole: how many parts it is made of, and how much
 * longer they may make a text all together. Unicode's own forms are not counted: they do so to few characters.
 *
 * @throws {PartError} when it is more than any real one
 */
export function checkPipeline(part: unknown, where: string): void {
  let parts = 0;
  let growth = 1;
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("type" in value && ++parts > MAX_PARTS)
      throw new PartError(`${where}: it has more than ${MAX_PARTS} parts`, true);
    growth *= growthOf(value);
    for (const inner of Object.values(value)) visit(inner);
  };
  visit(part);
  if (growth <= MAX_GROWTH) return;
  throw new PartError(`${where}: it may make a text more than ${MAX_GROWTH} times as long`, true);
}

/** How many times as long a part may make a text of one character. */
function growthOf(part: object): number {
  if (v.is(Replace, part)) {
    const least = compilePattern(part.pattern).minLength;
    return least === 0 ? 1 + part.content.length : Math.max(1, part.content.length / least);
  }
  if (v.is(Precompiled, part)) return new Charsmap(part.precompiled_charsmap).longest;
  if (v.is(Prepend, part)) return 1 + part.prepend.length;
  return v.is(WordEnd, part) && part.suffix === "" ? 2 : 1;
}
