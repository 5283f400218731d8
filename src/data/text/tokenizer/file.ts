import * as v from "valibot";
import { AddedToken } from "./added-tokens.ts";
import { Part, PartError, Pattern, readPart, unknownPart } from "./part.ts";
import { Charsmap, Precompiled } from "./normalizer.ts";
import { compilePattern } from "./pattern.ts";
import { Bpe, BpeConfig } from "./bpe.ts";
import type { TokenModel } from "./token-model.ts";
import { Unigram, UnigramConfig } from "./unigram.ts";

/** Files of old (GPT-2's) leave the type out. */
const ModelPart = v.looseObject({ type: v.optional(v.string()) });
type ModelPart = v.InferOutput<typeof ModelPart>;

const OptionalPart = v.optional(v.nullable(Part), null);
const TokenizerJson = v.looseObject({
  added_tokens: v.optional(v.array(AddedToken), []),
  normalizer: OptionalPart,
  pre_tokenizer: OptionalPart,
  post_processor: OptionalPart,
  decoder: OptionalPart,
  model: ModelPart,
});

/** The parts of a parsed tokenizer.json. @throws {PartError} when one is malformed, or makes more of a text than any real one */
export function readTokenizerFile(file: unknown): v.InferOutput<typeof TokenizerJson> {
  const parts = readPart(TokenizerJson, file, "tokenizer.json");
  for (const name of ["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const) {
    checkPipeline(parts[name], name);
  }
  return parts;
}

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

/**
 * Builds the model of tokenizer.json.
 *
 * @throws {PartError} for a malformed model, or one of a kind that generating models do not use (WordPiece, WordLevel)
 */
export function buildModel(part: ModelPart, where = "model"): TokenModel {
  const type = part.type ?? typeOf(part);
  switch (type) {
    case "BPE":
      return new Bpe(readPart(BpeConfig, part, where));
    case "Unigram":
      return new Unigram(readPart(UnigramConfig, part, where));
    default:
      throw unknownPart(where, type);
  }
}

function typeOf(part: ModelPart): string {
  if (Array.isArray(part["vocab"])) return "Unigram";
  return Array.isArray(part["merges"]) ? "BPE" : "WordPiece or WordLevel";
}
