import { MergeQueue } from "../../data/text/tokenizer/merging.ts";
import { type Expression, type Grammar, grammarError, ROOT, WHOLE } from "./grammar.ts";

/** States of a grammar at most: some megabytes, which a request that waits has as well. */
const MOST_STATES = 20_000;
/** Parts in each other. */
const MOST_DEPTH = 500;

/** What leads on from a state. */
interface State {
  /** By a byte of one of the ranges. */
  readonly bytes: { readonly ranges: readonly (readonly [number, number])[]; readonly to: number }[];
  /** By nothing. */
  readonly free: number[];
  /** By a text of the rule that begins at `start`. */
  readonly calls: { readonly start: number; readonly to: number }[];
}

/** A grammar as states: a rule's text leads from its start to {@link END}, calling other rules on its way. */
export interface GrammarStates {
  readonly states: readonly State[];
  readonly start: number;
  /** Fewest bytes from each state to the end of its rule; Infinity where there is no way. */
  readonly shortest: Float64Array;
}

/** The state in which every rule ends. */
export const END = 0;

/**
 * Makes a grammar's states.
 * @throws RandloraError `data` for a rule that is not there, a grammar that is too large, or one that no text follows
 */
export function statesOf(grammar: Grammar): GrammarStates {
  const builder = new Builder(grammar);
  const start = builder.startOf(grammar.has(WHOLE) ? WHOLE : ROOT);
  builder.finish();
  const { states } = builder;
  const shortest = shortestWays(states);
  if (shortest[start] === Infinity) throw grammarError("the grammar or schema allows no text that ends");
  return { states, start, shortest };
}

class Builder {
  readonly states: State[] = [];
  readonly #grammar: Grammar;
  readonly #starts = new Map<string, number>();
  readonly #unfinished: { readonly start: number; readonly body: Expression }[] = [];
  /** Parts that are repeated, or stand in graphs, become rules of their own, so that a repetition costs a state or two. */
  readonly #parts = new Map<Expression, number>();

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
    this.#add();
  }

  startOf(name: string): number {
    const known = this.#starts.get(name);
    if (known !== undefined) return known;
    const body = this.#grammar.get(name);
    if (body === undefined) throw grammarError(`the grammar has no rule ${name.slice(0, 100)}`);
    const start = this.#begin(body);
    this.#starts.set(name, start);
    return start;
  }

  /** Makes the bodies of all rules that are needed: one by one, however they call each other. */
  finish(): void {
    for (let next = this.#unfinished.pop(); next !== undefined; next = this.#unfinished.pop()) {
      this.#walk(next.body, next.start, END, 0);
    }
  }

  #begin(body: Expression): number {
    const start = this.#add();
    this.#unfinished.push({ start, body });
    return start;
  }

  #add(): number {
    if (this.states.length >= MOST_STATES)
      throw grammarError(`the grammar or schema has more than ${MOST_STATES} states`);
    this.states.push({ bytes: [], free: [], calls: [] });
    return this.states.length - 1;
  }

  /** Makes ways from one state to another. */
  #walk(expression: Expression, from: number, to: number, depth: number): void {
    if (depth > MOST_DEPTH) throw grammarError(`the grammar or schema is nested more than ${MOST_DEPTH} deep`);
    const state = this.states[from];
    if (state === undefined) return;
    switch (expression.kind) {
      case "byte":
        state.bytes.push({ ranges: expression.ranges, to });
        return;
      case "text": {
        let at = from;
        for (const byte of new TextEncoder().encode(expression.text)) {
          const next = this.#add();
          this.states[at]?.bytes.push({ ranges: [[byte, byte]], to: next });
          at = next;
        }
        this.states[at]?.free.push(to);
        return;
      }
      case "sequence": {
        let at = from;
        for (const part of expression.parts) {
          const next = this.#add();
          this.#walk(part, at, next, depth + 1);
          at = next;
        }
        this.states[at]?.free.push(to);
        return;
      }
      case "choice":
        for (const option of expression.options) {
          const start = this.#add();
          state.free.push(start);
          this.#walk(option, start, to, depth + 1);
        }
        return;
      case "rule":
        state.calls.push({ start: this.startOf(expression.name), to });
        return;
      case "repeat":
        this.#repeat(expression, from, to);
        return;
      case "graph": {
        const numbers = expression.nodes.map(() => this.#add());
        state.free.push(numbers[0] ?? to);
        for (const [index, { ways, isEnd }] of expression.nodes.entries()) {
          const node = this.states[numbers[index] ?? END];
          for (const way of ways) {
            node?.calls.push({ start: this.#startOfPart(way.part), to: numbers[way.to] ?? END });
          }
          if (isEnd) node?.free.push(to);
        }
      }
    }
  }

  #startOfPart(part: Expression): number {
    const start = this.#parts.get(part) ?? this.#begin(part);
    this.#parts.set(part, start);
    return start;
  }

  #repeat({ part, min, max }: Extract<Expression, { readonly kind: "repeat" }>, from: number, to: number): void {
    const start = this.#startOfPart(part);
    let at = from;
    for (let count = 0; count < (max === Infinity ? min : max); count++) {
      if (count >= min) this.states[at]?.free.push(to);
      const next = this.#add();
      this.states[at]?.calls.push({ start, to: next });
      at = next;
    }
    if (max === Infinity) {
      // A state of its own: the loop must not lead back into what stands before it.
      const loop = this.#add();
      this.states[at]?.free.push(loop);
      this.states[loop]?.calls.push({ start, to: loop });
      at = loop;
    }
    this.states[at]?.free.push(to);
  }
}

/** A text of more bytes is too long for any answer: longer ones count as this. */
const MOST_BYTES = 2 ** 38;

/** A way from a state by so many bytes, and by a text of the rule `beside`. */
interface Way {
  readonly from: number;
  readonly bytes: number;
  readonly beside?: number;
}

/**
 * Fewest bytes to {@link END}, of the nearest states first (Dijkstra's algorithm, as Knuth has it for grammars): each is looked
 * at once, whatever the grammar.
 */
function shortestWays(states: readonly State[]): Float64Array {
  const shortest = new Float64Array(states.length).fill(Infinity);
  const isKnown = new Uint8Array(states.length);
  const before: Way[][] = states.map(() => []);
  for (const [from, { bytes, free, calls }] of states.entries()) {
    for (const to of free) before[to]?.push({ from, bytes: 0 });
    for (const { to } of bytes) before[to]?.push({ from, bytes: 1 });
    for (const { start, to } of calls) {
      before[to]?.push({ from, bytes: 0, beside: start });
      before[start]?.push({ from, bytes: 0, beside: to });
    }
  }
  const of = (state: number): number => shortest[state] ?? Infinity;
  const queue = new MergeQueue();
  queue.clear(states.length);
  const reach = (state: number, bytes: number): void => {
    const least = Math.min(bytes, MOST_BYTES);
    if (least >= of(state)) return;
    shortest[state] = least;
    queue.push(least, state);
  };
  reach(END, 0);
  while (queue.pop()) {
    const to = queue.position;
    if (isKnown[to] === 1) continue;
    isKnown[to] = 1;
    for (const { from, bytes, beside } of before[to] ?? []) {
      if (beside === undefined) reach(from, of(to) + bytes);
      else if (isKnown[beside] === 1) reach(from, of(to) + of(beside));
    }
  }
  return shortest;
}
