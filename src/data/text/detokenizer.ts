import { readByteToken } from "./tokenizer/byte-level.ts";
import type { Stage, StageFactory } from "./tokenizer/decoder.ts";

/** Which tokens become text. */
export interface DetokenizerOptions {
  /** Leave special tokens out. */
  readonly skipSpecial?: boolean | undefined;
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
  /** Characters of the run of byte tokens that is held back. */
  #run: { readonly decoder: TextDecoder; length: number } | undefined;

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
    if (token === undefined) return "";
    const text = this.#after(() => this.#input.write(token, true, true));
    this.#count(text === "" ? readByteToken(token) : undefined);
    return text;
  }

  /** UTF-16 units of what is held back up to its last whole character: so far behind the final text the next token begins. */
  get held(): number {
    return this.#run?.length ?? 0;
  }

  /** Ends the text. @returns what was held back, halves of characters as U+FFFD */
  flush(): string {
    return this.#after(() => this.#input.end());
  }

  #count(byte: number | undefined): void {
    if (byte === undefined) this.#run = undefined;
    else {
      this.#run ??= { decoder: new TextDecoder("utf-8", { ignoreBOM: true }), length: 0 };
      this.#run.length += this.#run.decoder.decode(Uint8Array.of(byte), { stream: true }).length;
    }
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

/** What a matcher knows after more text has come. */
export interface StopResult {
  /** Text that can be shown: no stop string begins in it. */
  readonly text: string;
  /** The stop string that was found; nothing follows it. */
  readonly stopped: string | undefined;
}

/**
 * Looks for stop strings in a text that comes in pieces. What might be the beginning of a stop string is held back until
 * it is decided. The text of all results together is the whole text up to, not including, the stop string that begins
 * first; among those that begin at one place, the one listed first counts.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";
  #stopped: string | undefined;

  /** @param stops the strings; empty ones never match, nor do those with half a character, which would cut one */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "" && stop.isWellFormed());
  }

  /** @returns what can be shown now; once stopped, nothing more */
  push(text: string): StopResult {
    if (this.#stopped !== undefined) return { text: "", stopped: this.#stopped };
    const all = this.#held + text;
    for (let at = 0; at < all.length; at++) {
      const rest = all.length - at;
      // A longer stop string listed first may still win over one that is already complete here.
      for (const stop of this.#stops) {
        if (all.startsWith(stop, at)) return this.#stop(all.slice(0, at), stop);
        if (stop.length > rest && stop.startsWith(all.slice(at))) return this.#hold(all, at);
      }
    }
    return this.#hold(all, all.length);
  }

  /** Ends the text. @returns what was held back: a stop string that began there never ended */
  flush(): StopResult {
    if (this.#stopped !== undefined) return { text: "", stopped: this.#stopped };
    const all = this.#held;
    for (let at = 0; at < all.length; at++) {
      const stop = this.#stops.find((candidate) => all.startsWith(candidate, at));
      if (stop !== undefined) return this.#stop(all.slice(0, at), stop);
    }
    this.#held = "";
    return { text: all, stopped: undefined };
  }

  #stop(text: string, stop: string): StopResult {
    this.#held = "";
    this.#stopped = stop;
    return { text, stopped: stop };
  }

  #hold(all: string, from: number): StopResult {
    this.#held = all.slice(from);
    return { text: all.slice(0, from), stopped: undefined };
  }
}
