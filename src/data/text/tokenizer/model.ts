import * as v from "valibot";

import { Bpe, BpeConfig } from "./bpe.ts";
import { readPart, unknownPart } from "./part.ts";
import type { TokenModel } from "./token-model.ts";
import { Unigram, UnigramConfig } from "./unigram.ts";

/** Files of old (GPT-2's) leave the type out. */
export const ModelPart = v.looseObject({ type: v.optional(v.string()) });
type ModelPart = v.InferOutput<typeof ModelPart>;

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
