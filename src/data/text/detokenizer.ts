import type { Stage, StageFactory } from "./tokenizer/decoder.ts";

/** Which tokens become text. */
export interface DetokenizerOptions {
  /** Leave special tokens out. */
  readonly skipSpecial?: boolean | undefined;
  /** Special tokens that are not left out. */
  readonly shown?: ReadonlySet<number> | undefined;
}

/**
 * Turns ids into text as they come. What `push` returns is final: half a character, a run of byte tokens and whatever
 * else a later id might change is held back, and `flush` gives it up. All pieces together equal the decoding of all ids
 * at once (which is this class, too).
 */
export class Detokenizer {
  readonly #tokenOf: (id: number) => string | undefined;
  readonly #explain: (error: unknown) => unknown;
  readonly #input: Stage;
  #ready = "";

  /**
   * @param tokenOf the vocabulary's token for an id; ids without one are left out
   * @param explain what is thrown instead of an error of the decoder's
   */
  constructor(
    tokenOf: (id: number) => string | undefined,
    decoder: StageFactory,
    explain: (error: unknown) => unknown = (error) => error,
  ) {
    this.#tokenOf = tokenOf;
    this.#explain = explain;
    this.#input = decoder({
      write: (chunk) => {
        this.#ready += chunk;
      },
      end: () => {},
    });
  }

  /** @returns the text that has become final; often empty */
  push(id: number): string {
    const token = this.#tokenOf(id);
    return token === undefined ? "" : this.#after(() => this.#input.write(token, true, true));
  }

  /** Ends the text. @returns what was held back, halves of characters as U+FFFD */
  flush(): string {
    return this.#after(() => this.#input.end());
  }

  /** The text that has become final after a step. */
  #after(step: () => void): string {
    try {
      step();
    } catch (error) {
      throw this.#explain(error);
    }
    const text = this.#ready;
    this.#ready = "";
    return text;
  }
}
