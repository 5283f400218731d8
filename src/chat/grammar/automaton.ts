import { grammarError } from "./grammar.ts";
import { END, type GrammarStates } from "./states.ts";

/** No text goes on so. */
export const DEAD = -1;
const UNKNOWN = -2;
/** Ways in which a text may have been read so far. */
const MOST_THREADS = 2000;
/** States that are remembered; beyond them all are forgotten but the one in use. */
const MOST_STATES = 4000;
/** States that finding one mask may add, each a kilobyte. */
const MOST_NEW_STATES = 20_000;
/** Threads of all of them that are remembered, and that finding one mask may add: each takes some 80 bytes. */
const MOST_KNOWN_THREADS = 100_000;
const MOST_NEW_THREADS = 400_000;
/** Rules that are open in each other, remembered together. */
const MOST_FRAMES = 400_000;
/** No rule is open. */
const BOTTOM = -1;

/** A place in the grammar with the rules that are open there. */
interface Thread {
  readonly state: number;
  readonly frame: number;
}

interface Known {
  readonly threads: readonly Thread[];
  /** The text may end here. */
  readonly accepts: boolean;
  /** Fewest bytes up to an end. */
  readonly shortest: number;
  readonly next: Int32Array;
}

/**
 * Reads texts byte by byte by a grammar, in all ways at once. What was found out of a state is remembered, so that the usual
 * byte costs a look into a table.
 */
export class Automaton {
  /** Counts how often everything was forgotten: numbers of states hold within one generation. */
  generation = 0;
  /** Steps that were not known beforehand, each by the ways that it followed; for whoever limits them. */
  work = 0;
  readonly #grammar: GrammarStates;
  #known: Known[] = [];
  #numbers = new Map<string, number>();
  /** Of all known states. */
  #threads = 0;
  /** Frames: the state to return to, the frame below, and the fewest bytes from the return to the end of everything. */
  #returns: number[] = [];
  #below: number[] = [];
  #rest: number[] = [];
  #frames = new Map<number, number>();

  constructor(grammar: GrammarStates) {
    this.#grammar = grammar;
  }

  /** The state before any text. @throws RandloraError `data` for a grammar that is too ambiguous */
  start(): number {
    return this.#number([{ state: this.#grammar.start, frame: BOTTOM }]);
  }

  /** @returns the state behind a byte, or {@link DEAD}. @throws as {@link start} */
  step(from: number, byte: number): number {
    const known = this.#known[from];
    if (known === undefined) return DEAD;
    const found = known.next[byte] ?? DEAD;
    if (found !== UNKNOWN) return found;
    const to = this.#find(known, byte);
    known.next[byte] = to;
    return to;
  }

  accepts(state: number): boolean {
    return this.#known[state]?.accepts === true;
  }

  /** May a text go on behind this? */
  goesOn(state: number): boolean {
    return (this.#known[state]?.threads.length ?? 0) > 0;
  }

  /** Fewest bytes up to an end. */
  shortest(state: number): number {
    return this.#known[state]?.shortest ?? Infinity;
  }

  /** Forgets what is known where it has become much. @returns the number of `state` from now on */
  tidy(state: number): number {
    const isMuch = this.#known.length > MOST_STATES || this.#threads > MOST_KNOWN_THREADS;
    if (!isMuch && this.#returns.length <= MOST_FRAMES) return state;
    const threads = (this.#known[state]?.threads ?? []).map((thread) => ({
      state: thread.state,
      open: this.#openRules(thread.frame),
    }));
    this.generation++;
    this.#known = [];
    this.#numbers = new Map();
    this.#threads = 0;
    this.#returns = [];
    this.#below = [];
    this.#rest = [];
    this.#frames = new Map();
    return this.#number(
      threads.map(({ state, open }) => ({
        state,
        frame: open.reduceRight((frame, back) => this.#push(back, frame), BOTTOM),
      })),
    );
  }

  #openRules(frame: number): number[] {
    const open: number[] = [];
    for (let at = frame; at !== BOTTOM; at = this.#below[at] ?? BOTTOM) open.push(this.#returns[at] ?? END);
    return open;
  }

  #find({ threads }: Known, byte: number): number {
    this.work += threads.length;
    const next: Thread[] = [];
    for (const { state, frame } of threads) {
      for (const { ranges, to } of this.#grammar.states[state]?.bytes ?? []) {
        if (ranges.some(([low, high]) => byte >= low && byte <= high)) next.push({ state: to, frame });
      }
    }
    return next.length === 0 ? DEAD : this.#number(next);
  }

  /** The number of the state of all threads that these become without a byte. */
  #number(from: readonly Thread[]): number {
    const { states, shortest } = this.#grammar;
    const seen = new Set<number>();
    const threads: Thread[] = [];
    let accepts = false;
    let least = Infinity;
    const waiting = [...from];
    for (let thread = waiting.pop(); thread !== undefined; thread = waiting.pop()) {
      const { state, frame } = thread;
      const rest = (shortest[state] ?? Infinity) + (frame === BOTTOM ? 0 : (this.#rest[frame] ?? 0));
      const key = keyOf(state, frame);
      if (rest === Infinity || seen.has(key)) continue;
      seen.add(key);
      if (seen.size > MOST_THREADS) throw grammarError("the grammar can be read in too many ways at once");
      least = Math.min(least, rest);
      if (state === END) {
        if (frame === BOTTOM) accepts = true;
        else waiting.push({ state: this.#returns[frame] ?? END, frame: this.#below[frame] ?? BOTTOM });
        continue;
      }
      const { bytes = [], free = [], calls = [] } = states[state] ?? {};
      if (bytes.length > 0) threads.push(thread);
      for (const to of free) waiting.push({ state: to, frame });
      for (const { start, to } of calls) waiting.push({ state: start, frame: this.#push(to, frame) });
    }
    this.work += seen.size;
    threads.sort((left, right) => left.state - right.state || left.frame - right.frame);
    const name = `${accepts} ${threads.map(({ state, frame }) => `${state},${frame}`).join(" ")}`;
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    if (threads.length === 0 && !accepts) return DEAD;
    const number = this.#known.length;
    this.#threads += threads.length;
    const isTooMuch = this.#threads > MOST_KNOWN_THREADS + MOST_NEW_THREADS;
    if (isTooMuch || number > MOST_STATES + MOST_NEW_STATES)
      throw grammarError("the grammar or schema has too many states");
    this.#known.push({ threads, accepts, shortest: least, next: new Int32Array(256).fill(UNKNOWN) });
    this.#numbers.set(name, number);
    return number;
  }

  /** Opens a rule; where nothing comes behind it in the one around it, that one is closed: lists and tails stay flat. */
  #push(back: number, below: number): number {
    const { states, shortest } = this.#grammar;
    let target = back;
    for (;;) {
      const { bytes = [], free = [], calls = [] } = states[target] ?? {};
      const [only = END] = free;
      if (target === END) return below;
      if (bytes.length > 0 || calls.length > 0 || free.length !== 1) break;
      target = only;
    }
    const key = keyOf(target, below);
    const known = this.#frames.get(key);
    if (known !== undefined) return known;
    const frame = this.#returns.length;
    if (frame > 2 * MOST_FRAMES) throw grammarError("the grammar opens too many rules");
    this.#returns.push(target);
    this.#below.push(below);
    this.#rest.push((shortest[target] ?? Infinity) + (below === BOTTOM ? 0 : (this.#rest[below] ?? 0)));
    this.#frames.set(key, frame);
    return frame;
  }
}

function keyOf(state: number, frame: number): number {
  return (frame + 1) * 2 ** 20 + state;
}
