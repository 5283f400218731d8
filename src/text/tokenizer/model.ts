import { Bpe, BpeConfig } from "./bpe.ts";
import { type Part, readPart, unknownPart } from "./part.ts";
import type { TokenModel } from "./token-model.ts";
import { Unigram, UnigramConfig } from "./unigram.ts";

/**
 * Builds the model of tokenizer.json.
 *
 * @throws {PartError} for a malformed model, or one of a kind that generating models do not use (WordPiece, WordLevel)
 */
export function buildModel(part: Part, where = "model"): TokenModel {
  switch (part.type) {
    case "BPE":
      return new Bpe(readPart(BpeConfig, part, where));
    case "Unigram":
      return new Unigram(readPart(UnigramConfig, part, where));
    default:
      throw unknownPart(where, part.type);
  }
}
