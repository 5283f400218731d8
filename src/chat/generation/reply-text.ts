import type { Detokenizer } from "../../data/text/detokenizer.ts";
import { StopMatcher } from "../../data/text/stop-strings.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";

/** The text that a reply's tokens make, as far as it is final: what may become a stop text is held back. */
export class ReplyText {
  readonly tokens: number[] = [];
  readonly #tokenizer: Tokenizer;
  readonly #shown: ReadonlyMap<number, string>;
  #detokenizer: Detokenizer;
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
    this.tokens.push(token);
    const more = this.#textOf(token);
    this.#decoded += more.length;
    const { text, stopped } = this.#matcher.push(more);
    this.#text += text;
    return stopped !== undefined;
  }

  #textOf(token: number): string {
    const mark = this.#shown.get(token);
    if (mark === undefined) return this.#detokenizer.push(token);
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
