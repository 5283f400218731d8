import type { Tokenizer } from "./tokenizer.ts";
import { BYTE_OF, readByteToken } from "./tokenizer/byte-level.ts";

/** What a token stands for within a text. */
export interface TokenText {
  /** U+FFFD in the place of half characters. */
  readonly text: string;
  /** UTF-8, halves of characters included; null where the tokenizer does not tell. */
  readonly bytes: readonly number[] | null;
}

const encoder = new TextEncoder();

/** Tells the text of single tokens as it is in the middle of others: ` the`, where a decoder would strip the space. */
export class TokenTexts {
  readonly #tokenizer: Tokenizer;
  /** A token to stand before the one in question. */
  readonly #before: readonly number[];
  readonly #offset: number;
  /** Evaluations ask for the same ones again and again. */
  readonly #known = new Map<number, TokenText>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    this.#before = tokenizer.encode("a", { special: false }).slice(-1);
    this.#offset = tokenizer.decode(this.#before).length;
  }

  of(id: number): TokenText {
    const known = this.#known.get(id) ?? this.#make(id);
    this.#known.set(id, known);
    return known;
  }

  #make(id: number): TokenText {
    const text = this.#tokenizer.decode([...this.#before, id]).slice(this.#offset);
    if (!text.includes("\uFFFD")) return { text, bytes: [...encoder.encode(text)] };
    return { text, bytes: halves(this.#tokenizer.idToToken(id) ?? "") };
  }
}

/** The bytes of a token that is no text by itself: `<0xC3>`, or GPT-2's characters for bytes. */
function halves(token: string): readonly number[] | null {
  const byte = readByteToken(token);
  if (byte !== undefined) return [byte];
  const bytes = Array.from(token, (character) => BYTE_OF.get(character));
  return bytes.every((value) => value !== undefined) ? bytes : null;
}
