import { type Detokenizer, StopMatcher, type StopResult } from "../../data/text/detokenizer.ts";
import { HARMONY, MARK, markOf } from "../../data/text/harmony.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";

/** The text that a reply's tokens make, as far as it is final: what may become a stop text is held back. */
export class ReplyText {
  readonly tokens: number[] = [];
  /** Where the text of each begins, in UTF-16 units. */
  readonly offsets: number[] = [];
  readonly #tokenizer: Tokenizer;
  readonly #shown: ReadonlyMap<number, string>;
  #detokenizer: Detokenizer;
  /** What comes is no text but the header of a message. */
  #isHeader = false;
  readonly #matcher: StopMatcher;
  #text = "";
  #taken = 0;
  #decoded = 0;

  /** @param shown special tokens that are text all the same, and which */
  constructor(tokenizer: Tokenizer, stops: readonly string[], shown: ReadonlyMap<number, string> = new Map()) {
    this.#tokenizer = tokenizer;
    this.#shown = shown;
    this.#detokenizer = tokenizer.detokenizer({ skipSpecial: true });
    this.#matcher = new StopMatcher(stops);
  }

  /** What is final. */
  get text(): string {
    return this.#text;
  }

  /** What has become final since it was last taken. */
  takeNew(): string {
    const piece = this.#text.slice(this.#taken);
    this.#taken = this.#text.length;
    return piece;
  }

  /** Where the next token's text begins, in UTF-16 units. */
  get offset(): number {
    return this.#decoded + this.#detokenizer.held;
  }

  /** Takes a token. @returns whether a stop text has been found */
  push(token: number): boolean {
    this.offsets.push(this.offset);
    this.tokens.push(token);
    const more = this.#textOf(token);
    this.#decoded += more.length;
    if (!this.#isHeader) return this.#add(this.#matcher.push(more));
    return this.#add(this.#matcher.flush()) || this.#add({ text: more, stopped: undefined });
  }

  /** @returns whether a stop text has been found */
  #add({ text, stopped }: StopResult): boolean {
    this.#text += text;
    return stopped !== undefined;
  }

  #textOf(token: number): string {
    const mark = this.#shown.get(token);
    if (mark === undefined) return this.#detokenizer.push(token);
    if (MARK.test(mark)) this.#isHeader = mark !== markOf(HARMONY.message);
    // What follows is a text of its own.
    const before = this.#detokenizer.flush();
    this.#detokenizer = this.#tokenizer.detokenizer({ skipSpecial: true });
    return before + mark;
  }

  /** Makes final what was held back: no more tokens come. @returns whether a stop text has been found in it */
  finish(): boolean {
    const ending = [this.#matcher.push(this.#detokenizer.flush()), this.#matcher.flush()];
    for (const { text } of ending) this.#text += text;
    return ending.some(({ stopped }) => stopped !== undefined);
  }
}
