import type { Stage, StageFactory } from "./tokenizer/decoder.ts";

/**
 * Turns ids into text as they come. What `push` returns is final: half a character, a run of byte tokens and whatever
 * else a later id might change is held back, and `flush` gives it up. All pieces together equal the decoding of all ids
 * at once (which is this class, too).
 */
export class Detokenizer {
  readonly #tokenOf: (id: number) => string | undefined;
  readonly #input: Stage;
  #ready = "";

  /** @param tokenOf the vocabulary's token for an id; ids without one are left out */
  constructor(tokenOf: (id: number) => string | undefined, decoder: StageFactory) {
    this.#tokenOf = tokenOf;
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
    if (token !== undefined) this.#input.write(token, true, true);
    return this.#take();
  }

  /** Ends the text. @returns what was held back, halves of characters as U+FFFD */
  flush(): string {
    this.#input.end();
    return this.#take();
  }

  #take(): string {
    const text = this.#ready;
    this.#ready = "";
    return text;
  }
}
