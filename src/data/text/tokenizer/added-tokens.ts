import * as v from "valibot";

import type { Normalizer } from "./normalizer.ts";

/** A token that is looked for in the text itself, before the model sees the rest; tokenizer.json's `added_tokens`. */
export const AddedToken = v.object({
  id: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 26)),
  /** Bounded, because it is looked for wherever its beginning stands. Real ones have up to 100 characters. */
  content: v.pipe(v.string(), v.maxLength(1000)),
  /** Only where no word character touches it. */
  single_word: v.optional(v.boolean(), false),
  /** Takes the white space before it along. */
  lstrip: v.optional(v.boolean(), false),
  /** Takes the white space after it along. */
  rstrip: v.optional(v.boolean(), false),
  /** Is looked for in the normalized text, in its own normalized form. */
  normalized: v.optional(v.boolean(), true),
  /** A control token: left out when decoding for a reader. */
  special: v.optional(v.boolean(), false),
});
export type AddedToken = v.InferOutput<typeof AddedToken>;

/** Those that are control tokens: where somebody only spells one, it is plain text. @param shown that templates look for in texts */
export function controlTokens(tokens: readonly AddedToken[], shown: readonly string[] = []): string[] {
  return tokens.flatMap(({ special, content }) => (special && !shown.includes(content) ? [content] : []));
}

/** A stretch of text, or the id of an added token found there. */
export type Section = string | number;

/** A stretch of a text and where it stands, in UTF-16 units: with the white space that an added token takes along. */
export interface PlacedSection {
  readonly start: number;
  readonly end: number;
  /** The added token found there; undefined for text. */
  readonly id?: number;
}

interface Node {
  readonly next: Map<string, Node>;
  token?: AddedToken;
}

const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const SPACE = /\p{White_Space}/u;

/** Cuts a text at one set of added tokens: leftmost first, then longest (huggingface/tokenizers, added_vocabulary.rs). */
export class TokenSplitter {
  readonly #root: Node = { next: new Map() };
  /** Skips to the next place where a token may begin without walking the trie at every character. */
  readonly #start: RegExp | undefined;

  constructor(tokens: readonly AddedToken[], normalize: Normalizer = (text) => text) {
    for (const token of tokens) this.#add(token, normalize(token.content));
    const firsts = [...this.#root.next.keys()].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    // No u flag: tokens are matched by UTF-16 units, and so are their beginnings.
    this.#start = firsts.length === 0 ? undefined : new RegExp(`[${firsts.join("")}]`, "g");
  }

  /** @returns sections in order; texts are never empty */
  split(text: string): Section[] {
    return this.place(text).map(({ start, end, id }) => id ?? text.slice(start, end));
  }

  /** As `split`, with the place of each section. @param plain parts in which no token is looked for, in their order */
  place(text: string, plain: readonly { readonly start: number; readonly end: number }[] = []): PlacedSection[] {
    let next = 0;
    const isPlain = (start: number, end: number): boolean => {
      while ((plain[next]?.end ?? Infinity) <= start) next++;
      return (plain[next]?.start ?? Infinity) < end;
    };
    const sections: PlacedSection[] = [];
    let done = 0;
    let at = this.#seek(text, 0);
    while (at < text.length) {
      const token = this.#longestAt(text, at);
      const end = token === undefined ? at : at + token.length;
      if (token === undefined || isPlain(at, end)) {
        at = this.#seek(text, at + 1);
        continue;
      }
      if (!token.token.single_word || standsAlone(text, at, end)) {
        const from = token.token.lstrip ? Math.max(spaceBefore(text, at), done) : at;
        const to = token.token.rstrip ? spaceAfter(text, end) : end;
        if (from > done) sections.push({ start: done, end: from });
        sections.push({ start: from, end: to, id: token.token.id });
        done = to;
      }
      // As the reference has it: white space that was taken along is looked at again, and may be a token itself.
      at = this.#seek(text, end);
    }
    if (done < text.length) sections.push({ start: done, end: text.length });
    return sections;
  }

  #add(token: AddedToken, content: string): void {
    if (content === "") return;
    let node = this.#root;
    for (const unit of units(content)) {
      const next = node.next.get(unit) ?? { next: new Map() };
      node.next.set(unit, next);
      node = next;
    }
    node.token = token;
  }

  #seek(text: string, from: number): number {
    if (this.#start === undefined) return text.length;
    this.#start.lastIndex = from;
    // One unit matches, so it ends one further: `exec` would make a list for every unit of a text of `<`.
    return this.#start.test(text) ? this.#start.lastIndex - 1 : text.length;
  }

  #longestAt(text: string, at: number): { token: AddedToken; length: number } | undefined {
    let found: { token: AddedToken; length: number } | undefined;
    let node: Node | undefined = this.#root;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charAt(i));
      if (node === undefined) break;
      if (node.token !== undefined) found = { token: node.token, length: i + 1 - at };
    }
    return found;
  }
}

function units(text: string): string[] {
  return Array.from({ length: text.length }, (_, i) => text.charAt(i));
}

function standsAlone(text: string, start: number, end: number): boolean {
  const before = Array.from(text.slice(Math.max(0, start - 2), start)).at(-1);
  const after = Array.from(text.slice(end, end + 2)).at(0);
  return !(before !== undefined && WORD.test(before)) && !(after !== undefined && WORD.test(after));
}

/** White space is in the basic plane, so that single UTF-16 units decide. */
function spaceBefore(text: string, end: number): number {
  let start = end;
  while (start > 0 && SPACE.test(text.charAt(start - 1))) start--;
  return start;
}

function spaceAfter(text: string, start: number): number {
  let end = start;
  while (end < text.length && SPACE.test(text.charAt(end))) end++;
  return end;
}
