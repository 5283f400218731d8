import { Turn } from "../../data/text/tokenizer/token-model.ts";
import type { LogitFilter } from "../generation/next-token.ts";
import { Automaton, DEAD } from "./automaton.ts";
import { grammarError } from "./grammar.ts";
import type { GrammarStates } from "./states.ts";
import type { TokenTree } from "./token-tree.ts";

/** Masks that a constraint remembers, a byte for each token. */
const MOST_MASKS = 64;
/** Steps of the automaton that finding one mask may take. */
const MOST_WORK = 3_000_000;
/** Of those and of nodes of the tree, so many one after another: some milliseconds. */
const PART_OF_WORK = 5000;
const NODES_IN_A_ROW = 4096;

/** The tokens that a text is made of. */
export interface Vocabulary {
  readonly tree: TokenTree;
  /** The bytes of a token; undefined where it has none. */
  bytesOf(id: number): readonly number[] | undefined;
  /** Special tokens that stand for a text, which the tree does not have. */
  readonly marks?: ReadonlyMap<number, readonly number[]>;
}

interface Mask {
  /** 1 for each token that may come. */
  readonly allowed: Uint8Array;
  readonly count: number;
  /** Most bytes that are still needed behind one of them. */
  readonly longest: number;
}

/**
 * Holds a text to a grammar: rules out the tokens that do not go on with it, and, when few tokens are left, those behind which
 * the shortest way to an end has more bytes than that. So an answer ends, whatever the temperature, if it can at all.
 */
export class Constraint implements LogitFilter {
  readonly #automaton: Automaton;
  readonly #vocabulary: Vocabulary;
  readonly #stopTokens: ReadonlySet<number>;
  #masks = new Map<number, Mask>();
  /** What was found last in the present state. */
  #last: { readonly left: number; readonly mask: Mask } | undefined;
  #failure: { readonly error: unknown } | undefined;
  #generation = 0;
  #state: number;

  /** @throws RandloraError `data` for a grammar that cannot be followed */
  constructor(grammar: GrammarStates, vocabulary: Vocabulary, stopTokens: ReadonlySet<number>) {
    this.#automaton = new Automaton(grammar);
    this.#vocabulary = vocabulary;
    this.#stopTokens = stopTokens;
    this.#state = this.#automaton.start();
  }

  /** Never rejects: `apply` throws what is wrong with the grammar. */
  async prepare(left: number): Promise<void> {
    const turn = new Turn();
    try {
      const finding = this.#maskOf(left);
      while (finding.next().done !== true) if (turn.isOver()) await turn.end();
    } catch (error) {
      this.#failure = { error };
    }
  }

  apply(logits: Float32Array, left: number): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    const { allowed, count } = endOf(this.#maskOf(left));
    const mayEnd = this.#automaton.accepts(this.#state);
    if (count === 0 && !mayEnd)
      throw grammarError("the tokenizer has no token that goes on as the grammar or schema asks");
    for (let id = 0; id < logits.length; id++) {
      if (allowed[id] !== 1 && !(mayEnd && this.#stopTokens.has(id))) logits[id] = -Infinity;
    }
  }

  push(token: number): boolean {
    const { marks } = this.#vocabulary;
    const bytes = marks?.get(token) ?? this.#vocabulary.bytesOf(token) ?? [];
    for (const byte of bytes) this.#state = this.#automaton.step(this.#state, byte);
    this.#tidy();
    // Where nothing can follow there is nothing to choose.
    return this.#automaton.accepts(this.#state) && !this.#automaton.goesOn(this.#state);
  }

  #tidy(): void {
    this.#state = this.#automaton.tidy(this.#state);
    this.#last = undefined;
    if (this.#generation === this.#automaton.generation) return;
    this.#generation = this.#automaton.generation;
    this.#masks = new Map();
  }

  /** Yields between parts of the work. */
  *#maskOf(left: number): Generator<void, Mask> {
    if (this.#last?.left === left) return this.#last.mask;
    const known = this.#masks.get(this.#state) ?? (yield* this.#find(Infinity));
    this.#masks.delete(this.#state);
    this.#masks.set(this.#state, known);
    const [oldest] = this.#masks.keys();
    if (this.#masks.size > MOST_MASKS && oldest !== undefined) this.#masks.delete(oldest);
    const short = known.longest < left ? known : yield* this.#find(left - 1);
    // Whoever asked for fewer tokens than any answer has gets the beginning of one.
    const mask = short.count > 0 || this.#automaton.accepts(this.#state) ? short : known;
    this.#last = { left, mask };
    return mask;
  }

  /** Walks through the vocabulary. @param most bytes that may still be needed behind a token */
  *#find(most: number): Generator<void, Mask> {
    const { bytes, depths, ends, firsts, tokens, size } = this.#vocabulary.tree;
    const automaton = this.#automaton;
    const allowed = new Uint8Array(size);
    const states = [this.#state];
    let count = 0;
    let longest = 0;
    const work = automaton.work + MOST_WORK;
    let part = automaton.work + PART_OF_WORK;
    for (let node = 0, looks = 0; node < bytes.length; looks++) {
      if (automaton.work > part || looks % NODES_IN_A_ROW === 0) {
        yield;
        part = automaton.work + PART_OF_WORK;
      }
      const depth = depths[node] ?? 0;
      const state = automaton.step(states[depth - 1] ?? DEAD, bytes[node] ?? 0);
      if (state === DEAD) {
        node = ends[node] ?? bytes.length;
        continue;
      }
      if (automaton.work > work) throw grammarError("the grammar or schema takes too long to follow");
      states[depth] = state;
      const [first = 0, end = 0] = [firsts[node], firsts[node + 1]];
      const needed = first === end ? 0 : automaton.shortest(state);
      if (first < end && needed <= most) {
        longest = Math.max(longest, needed);
        for (let at = first; at < end; at++) allowed[tokens[at] ?? 0] = 1;
        count += end - first;
      }
      node++;
    }
    for (const [id, spelled] of this.#vocabulary.marks ?? []) {
      const state = spelled.reduce((from, byte) => automaton.step(from, byte), this.#state);
      const needed = state === DEAD ? Infinity : automaton.shortest(state);
      if (needed > most || needed === Infinity) continue;
      longest = Math.max(longest, needed);
      allowed[id] = 1;
      count++;
    }
    return { allowed, count, longest };
  }
}

/** Without a pause. */
function endOf<T>(parts: Generator<void, T>): T {
  for (;;) {
    const { done, value } = parts.next();
    if (done === true) return value;
  }
}
