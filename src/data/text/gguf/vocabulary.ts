import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { AddedToken } from "../tokenizer/added-tokens.ts";
import { BpeConfig } from "../tokenizer/bpe.ts";
import { readByteToken } from "../tokenizer/byte-level.ts";
import { Part } from "../tokenizer/part.ts";
import { looksSpecial, TOKEN_KINDS, type Vocabulary } from "./kinds.ts";
import { oneLine } from "../../../files/failure.ts";

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

/** What tokenizer.json says of a vocabulary. */
interface ReadVocabulary {
  readonly vocab: Readonly<Record<string, number>>;
  readonly added: readonly AddedToken[];
}

/** Longer ones take no part in merges: SentencePiece makes none of more than 16 characters unless told otherwise. */
const LONGEST_MERGED = 128;

/**
 * A vocabulary of GGUF back as tokenizer.json has it. Of tokens with the same text the first has it; ids that nothing
 * uses are left out.
 * @param blank what tokens of the vocabulary have for a blank
 * @param shown control tokens that are user-defined ones there
 */
export function readVocabulary(
  { tokens, kinds }: Vocabulary,
  blank: string,
  shown?: ReadonlySet<string>,
): ReadVocabulary {
  const vocab = new Map<string, number>();
  const added: AddedToken[] = [];
  const isAdded = (id: number) => kinds[id] === TOKEN_KINDS.control || kinds[id] === TOKEN_KINDS.userDefined;
  const add = (text: string, id: number) => void (vocab.has(text) || vocab.set(text, id));
  for (const [id, text] of tokens.entries()) {
    if (!isAdded(id) && kinds[id] !== TOKEN_KINDS.unused) add(text, id);
  }
  for (const [id, content] of tokens.entries()) {
    if (!isAdded(id) || content === "") continue;
    const special = kinds[id] === TOKEN_KINDS.control || shown?.has(content) === true;
    // llama.cpp looks for them in the text as it stands.
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
    add(content.replaceAll(" ", blank), id);
  }
  return { vocab: Object.fromEntries(vocab), added };
}

/**
 * The merges that scores stand for: every way to make a token of two, the highest score first (transformers,
 * convert_slow_tokenizer.py, generate_merges).
 */
export function mergesOfScores({ tokens, kinds, scores }: Required<Vocabulary>): [string, string][] {
  const idOf = new Map<string, number>();
  for (const [id, text] of tokens.entries()) {
    if (kinds[id] === TOKEN_KINDS.normal && text !== "" && !idOf.has(text)) idOf.set(text, id);
  }
  const merges: { readonly score: number; readonly left: number; readonly right: number }[] = [];
  for (const [text, id] of idOf) {
    if (text.length > LONGEST_MERGED) continue;
    for (let cut = 1; cut < text.length; cut++) {
      const left = idOf.get(text.slice(0, cut));
      const right = left === undefined ? undefined : idOf.get(text.slice(cut));
      if (left !== undefined && right !== undefined) merges.push({ score: scores[id] ?? 0, left, right });
    }
  }
  const textOf = (id: number) => tokens[id] ?? "";
  const sizes = tokens.map((text) => (text.length > LONGEST_MERGED ? 0 : Array.from(text).length));
  const size = (id: number) => sizes[id] ?? 0;
  merges.sort(
    (a, b) =>
      b.score - a.score ||
      size(b.left) - size(a.left) ||
      size(b.right) - size(a.right) ||
      a.left - b.left ||
      a.right - b.right,
  );
  return merges.map(({ left, right }) => [textOf(left), textOf(right)]);
}

/** A token of a SentencePiece model: its kind by llama.cpp's numbers, which are sentencepiece's. */
interface Piece {
  readonly text: string;
  readonly score: number;
  readonly kind: number;
}

/**
 * The pieces of a tokenizer.model: field 1 of sentencepiece's ModelProto, each of a text (1), a score (2) and a type (3).
 * @throws RandloraError `format`
 */
export function readPieces(bytes: Uint8Array, path: string): Piece[] {
  try {
    const pieces: Piece[] = [];
    for (const [field, value] of fields(bytes)) {
      if (field !== 1 || !(value instanceof Uint8Array)) continue;
      const piece = { text: "", score: 0, kind: 1 };
      for (const [part, content] of fields(value)) {
        if (part === 1 && content instanceof Uint8Array) {
          piece.text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
        } else if (part === 2 && content instanceof Uint8Array) {
          piece.score = new DataView(content.buffer, content.byteOffset, 4).getFloat32(0, true);
        } else if (part === 3 && typeof content === "number") piece.kind = content;
      }
      pieces.push(piece);
    }
    return pieces;
  } catch (cause) {
    const hint = "fetch the model again";
    throw new RandloraError("format", `${oneLine(path)}: not a SentencePiece model`, hint, { cause });
  }
}

/** The fields of a protocol buffer: numbers of varints, bytes of everything else. @throws RangeError */
function* fields(bytes: Uint8Array): Generator<[field: number, value: number | Uint8Array]> {
  let at = 0;
  const take = (count: number): Uint8Array => {
    if (count > bytes.length - at) throw new RangeError("incomplete");
    at += count;
    return bytes.subarray(at - count, at);
  };
  const varint = (): number => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const [byte = 0] = take(1);
      value += (byte & 127) * power;
      if (byte < 128) return value;
      if (power > 2 ** 60) throw new RangeError("not a number");
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, wire] = [Math.floor(key / 8), key % 8];
    if (wire === 0) yield [field, varint()];
    else if (wire === 1) yield [field, take(8)];
    else if (wire === 2) yield [field, take(varint())];
    else if (wire === 5) yield [field, take(4)];
    else throw new RangeError(`wire type ${wire}`);
  }
}
