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
