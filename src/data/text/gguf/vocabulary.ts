import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { AddedToken } from "../tokenizer/added-tokens.ts";
import { BpeConfig } from "../tokenizer/bpe.ts";
import { readByteToken } from "../tokenizer/byte-fallback.ts";
import { Part } from "../tokenizer/part.ts";
import { looksSpecial, TOKEN_KINDS, type Vocabulary } from "./kinds.ts";
import type { Piece } from "./sentencepiece-model.ts";

/** What GGUF takes of a tokenizer.json. */
export const BpeFile = v.looseObject({
  added_tokens: v.optional(v.array(AddedToken), []),
  normalizer: v.optional(v.nullable(Part), null),
  pre_tokenizer: v.optional(v.nullable(Part), null),
  model: BpeConfig,
});
export type BpeFile = v.InferOutput<typeof BpeFile>;

/** Of tokens that are looked for in the text itself: no pair is merged to one. */
const ADDED_SCORE = -1000;
const UNUSED_SCORE = -10_000;

/**
 * The tokens of a byte-level BPE, as llama.cpp's converter lists them.
 * @param size rows of the model's embedding
 */
export function byteLevelVocabulary({ model, added_tokens: added }: BpeFile, size: number): Vocabulary {
  const { tokens, kinds } = unused(size);
  for (const [token, id] of Object.entries(model.vocab))
    place(id, size, () => ([tokens[id], kinds[id]] = [token, TOKEN_KINDS.normal]));
  for (const token of added) place(token.id, size, () => addToken(token, tokens, kinds));
  return { tokens, kinds };
}

/**
 * The tokens of a SentencePiece BPE with their scores: those of tokenizer.model, else the rank of the merge that makes a
 * token, which orders pairs alike.
 * @param shown control tokens that are written as user-defined ones
 */
export function sentencePieceVocabulary(
  { model, added_tokens: added }: BpeFile,
  pieces: readonly Piece[] | undefined,
  size: number,
  shown?: ReadonlySet<string>,
): Required<Vocabulary> {
  const { tokens, kinds } = unused(size);
  const scores = Array.from({ length: size }, () => UNUSED_SCORE);
  for (const [id, { text, score, kind }] of (pieces ?? piecesOf(model)).entries()) {
    if (text !== "") place(id, size, () => ([tokens[id], kinds[id], scores[id]] = [text, kind, score]));
  }
  for (const token of added) {
    place(token.id, size, () => {
      addToken(token, tokens, kinds, shown);
      scores[token.id] = ADDED_SCORE;
    });
  }
  return { tokens, kinds, scores };
}

/** Merges as GGUF writes them, with a blank between: blanks inside are written as byte-level BPE writes them. */
export function mergesOf({ merges }: BpeConfigOutput): string[] {
  return merges.map((merge) =>
    typeof merge === "string" ? merge : merge.map((part) => part.replaceAll(" ", "Ġ")).join(" "),
  );
}
type BpeConfigOutput = BpeFile["model"];

function piecesOf({ vocab, merges, unk_token: unknown }: BpeConfigOutput): Piece[] {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const text = typeof merge === "string" ? merge.replace(" ", "") : merge.join("");
    if (!ranks.has(text)) ranks.set(text, rank);
  }
  const pieces: Piece[] = [];
  for (const [text, id] of Object.entries(vocab)) {
    const kind =
      readByteToken(text) !== undefined
        ? TOKEN_KINDS.byte
        : text === unknown
          ? TOKEN_KINDS.unknown
          : TOKEN_KINDS.normal;
    pieces[id] = { text, kind, score: kind === TOKEN_KINDS.normal ? 0 - (ranks.get(text) ?? merges.length) : 0 };
  }
  return Array.from(pieces, (piece) => piece ?? { text: "", kind: TOKEN_KINDS.unused, score: 0 });
}

function unused(size: number): { tokens: string[]; kinds: number[] } {
  return {
    tokens: Array.from({ length: size }, (_, id) => `[PAD${id}]`),
    kinds: Array.from({ length: size }, () => TOKEN_KINDS.unused),
  };
}

function addToken(
  { id, content, special }: v.InferOutput<typeof AddedToken>,
  tokens: string[],
  kinds: number[],
  shown?: ReadonlySet<string>,
): void {
  const control = (special || looksSpecial(content)) && shown?.has(content) !== true;
  kinds[id] = control ? TOKEN_KINDS.control : TOKEN_KINDS.userDefined;
  tokens[id] = control ? content : content.replaceAll("▁", " ");
}

function place(id: number, size: number, put: () => void): void {
  if (id < size) put();
  else {
    const cause = `the tokenizer has a token ${id}, but the model's embedding only ${size} rows`;
    throw new RandloraError("model", cause, "the tokenizer is of another model, or the embedding was not resized");
  }
}
