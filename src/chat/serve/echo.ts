import type { Tokenizer } from "../../data/text/tokenizer.ts";

/** A prompt as it is given back. */
export interface Echo {
  readonly text: string;
  /** Where the text of each token begins in it, in UTF-16 units. */
  readonly offsets: readonly number[];
}

/** @param prompt as it was sent; a text comes back unchanged */
export function echoOf(tokenizer: Tokenizer, ids: readonly number[], prompt: string | readonly number[] = ids): Echo {
  const detokenizer = tokenizer.detokenizer({ skipSpecial: true });
  let decoded = "";
  const offsets = ids.map((id) => {
    const begin = decoded.length + detokenizer.held;
    decoded += detokenizer.push(id);
    return begin;
  });
  decoded += detokenizer.flush();
  const text = typeof prompt === "string" ? prompt : decoded;
  // A tokenizer may have normalized what was sent.
  return { text, offsets: offsets.map((offset) => Math.min(offset, text.length)) };
}
