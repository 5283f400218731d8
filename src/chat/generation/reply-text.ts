import type { Detokenizer } from "../../data/text/detokenizer.ts";
import { StopMatcher } from "../../data/text/stop-strings.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";

/** The text that a reply's tokens make, as far as it is final: what may become a stop text is held back. */
export class ReplyText {
  readonly tokens: number[] = [];
  readonly #detokenizer: Detokenizer;
  readonly #matcher: StopMatcher;
  readonly #onText: ((text: string) => void) | undefined;
  #text = "";
  #decoded = 0;

  /** @param onText gets the text in pieces, as it becomes final */
  constructor(tokenizer: Tokenizer, stops: readonly string[], onText?: (text: string) => void) {
    this.#detokenizer = tokenizer.detokenizer({ skipSpecial: true });
    this.#matcher = new StopMatcher(stops);
    this.#onText = onText;
  }

  /** What is final. */
  get text(): string {
    return this.#text;
  }

  /** Where the next token's text begins, in UTF-16 units. */
  get offset(): number {
    return this.#decoded;
  }

  /** Takes a token. @returns whether a stop text has been found */
  push(token: number): boolean {
    this.tokens.push(token);
    const more = this.#detokenizer.push(token);
    this.#decoded += more.length;
    const { text, stopped } = this.#matcher.push(more);
    this.#show(text);
    return stopped !== undefined;
  }

  /** Shows what was held back: no more tokens come. @returns whether a stop text has been found in it */
  finish(): boolean {
    const ending = [this.#matcher.push(this.#detokenizer.flush()), this.#matcher.flush()];
    for (const { text } of ending) this.#show(text);
    return ending.some(({ stopped }) => stopped !== undefined);
  }

  #show(piece: string): void {
    if (piece === "") return;
    this.#text += piece;
    this.#onText?.(piece);
  }
}
