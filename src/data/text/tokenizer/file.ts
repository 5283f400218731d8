import * as v from "valibot";

import { AddedToken } from "./added-tokens.ts";
import { checkPipeline } from "./limits.ts";
import { ModelPart } from "./model.ts";
import { Part, readPart } from "./part.ts";

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
