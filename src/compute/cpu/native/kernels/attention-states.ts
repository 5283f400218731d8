// What pieces of attention work with: a command's parameters, what tokens see, and the states of pairs.
import { ATTENTION, chunkKeys, MOST_PAIRS } from "../../families/attention.ts";
import { DTYPE_CODES } from "../../../device/dtype.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { STORED_BYTES } from "../machine.ts";
import { wordsOf } from "../../parameters.ts";
import { bitsOf } from "../routines/functions.ts";
import { BLOCK_TERMS, ROW_PITCH } from "../routines/layout.ts";
import { NEVER } from "../routines/softmax.ts";
import { roomsOf, termsBytes } from "./attention-panels.ts";
import { blocksBytes, copyRows, fours } from "./tiles.ts";

const AT = wordsOf(ATTENTION);
/** Up to so many pairs read keys as they lie. */
export const FEW_PAIRS = 8;
/** The bits of an f32's exponent: all are set in what is no finite number. */
const EXPONENT = 0x7f800000;
const NEVER_BITS = bitsOf(NEVER);

/** Rows of a kv head, the first one's address and bytes from one to the next. */
export interface Rows {
  readonly at: number;
  readonly pitch: number;
  readonly stored: "F32" | "F16";
}

/** Pairs of some tokens of one sequence with some heads of a kv head: pair i is token + i / heads, firstHead + i % heads. */
export interface Pairs {
  readonly kvHead: number;
  readonly firstHead: number;
  readonly heads: number;
  readonly token: number;
  readonly count: number;
  /** Their number among all pairs that lie one after the other as records. */
  readonly record: number;
}

/** The first key that any pair of a panel sees, and the one behind the last. */
export interface Sight {
  readonly first: number;
  readonly end: number;
}

/** A command's parameters, and where things are in scratch. */
export class Attention {
  readonly on: Caller;
  readonly word: ParameterWords;
  readonly head: number;
  readonly heads: number;
  readonly tokens: number;
  /** How keys and values lie in memory. */
  readonly stored: "F32" | "F16" | "Q8_0";
  /** Keys of a chunk. */
  readonly chunk: number;
  /** Of all pairs: the first and the last key that each sees. */
  readonly firsts: number;
  readonly lasts: number;
  /** Of a panel's pairs. */
  readonly tops: number;
  readonly sums: number;
  /** Of all pairs: what the chunks so far came to. */
  readonly stateTops: number;
  readonly stateSums: number;
  readonly states: number;
  readonly scores: number;
  readonly results: number;
  readonly queries: number;
  readonly values: number;
  readonly keys: number;
  /** For products of the terms behind the first 256. */
  readonly room: number;
  readonly #window: number;
  readonly #firstPosition: number;
  readonly #firsts: number;
  readonly #lasts: number;

  constructor(on: Caller, parameters: number) {
    this.on = on;
    const word = on.reader(parameters, AT.count);
    this.word = word;
    const head = word(AT.head);
    this.head = head;
    this.chunk = chunkKeys(head);
    this.heads = word(AT.heads);
    this.tokens = word(AT.tokens);
    const dtype = word(AT.dtype);
    this.stored = dtype === DTYPE_CODES.F32 ? "F32" : dtype === DTYPE_CODES.F16 ? "F16" : "Q8_0";
    this.#window = word(AT.window);
    this.#firstPosition = word(AT.firstPosition);
    this.#firsts = word(AT.firsts) / 4;
    this.#lasts = word(AT.lasts) / 4;
    const { panelCols } = on.code;
    const room = roomsOf(on);
    this.firsts = room(MOST_PAIRS * 4);
    this.lasts = room(MOST_PAIRS * 4);
    this.tops = room(panelCols * 4);
    this.sums = room(panelCols * 4);
    this.stateTops = room(MOST_PAIRS * 4);
    this.stateSums = room(MOST_PAIRS * 4);
    this.states = room(MOST_PAIRS * head * 4);
    this.scores = room(Math.max(this.chunk * panelCols * 4, FEW_PAIRS * ROW_PITCH));
    this.results = room(panelCols * panelCols * 4);
    this.queries = room(MOST_PAIRS * head * 4);
    this.values = room(termsBytes(on, head, this.chunk));
    this.keys = room(blocksBytes(this.chunk, head));
    this.room = room(this.chunk * panelCols * 4);
  }

  /**
   * Keys or values of a kv head, `width` numbers from number `first` on, as routines read them: as they lie, or those in blocks as numbers
   * `step` bytes apart, in the place of the keys.
   */
  rows(
    of: "keys" | "values",
    kvHead: number,
    from: number,
    count: number,
    first = 0,
    width = this.head,
    to = this.keys,
    step = this.head * 4,
  ): Rows {
    const { on, head, stored, word } = this;
    const pitch = word(of === "keys" ? AT.keysPitch : AT.valuesPitch);
    const row = word(AT[of]) + from * pitch;
    const begin = kvHead * head + first;
    if (stored !== "Q8_0") return { at: row + begin * STORED_BYTES[stored], pitch, stored };
    const scales = row + word(AT.kvHeads) * head;
    on.parts.loadRows(DTYPE_CODES.Q8_0, row, pitch, scales, pitch, count, begin, width, to, step);
    return { at: to, pitch: step, stored: "F32" };
  }

  /** Lays keys of a kv head as `copyRows` does. */
  layKeys(kvHead: number, from: number, count: number): void {
    const { on, head, keys } = this;
    for (let first = 0; first < head; first += BLOCK_TERMS) {
      const [width, to] = [Math.min(BLOCK_TERMS, head - first), keys + blocksBytes(count, first)];
      const rows = this.rows("keys", kvHead, from, count, first, width, to, ROW_PITCH);
      if (rows.at !== to) copyRows(on, rows.at, rows.pitch, count, width, to, rows.stored);
    }
  }

  /** The first key of a token's sequence: chunks count from there. */
  base(token: number): number {
    return this.#firsts === 0 ? 0 : (this.on.words((this.#firsts + this.tokens) * 4)[this.#firsts + token] ?? 0);
  }

  /** The last key that a token sees. */
  last(token: number): number {
    if (this.#lasts === 0) return this.#firstPosition + token;
    return this.on.words((this.#lasts + this.tokens) * 4)[this.#lasts + token] ?? 0;
  }

  /** The first one. */
  first(token: number): number {
    return Math.max(this.base(token), this.last(token) + 1 - this.#window);
  }

  /** What the pairs of each panel see; the last one stands in the place of missing ones. */
  sightsOf({ token, heads, count }: Pairs): Sight[] {
    const words = this.on.words(0);
    const { panelCols } = this.on.code;
    const sights: Sight[] = [];
    for (let panel = 0; panel < count; panel += panelCols) {
      let [low, high] = [Infinity, 0];
      for (let pair = panel; pair < panel + panelCols; pair++) {
        const of = token + Math.floor(Math.min(pair, count - 1) / heads);
        const [first, last] = [this.first(of), this.last(of)];
        words[this.firsts / 4 + pair] = first;
        words[this.lasts / 4 + pair] = last;
        [low, high] = [Math.min(low, first), Math.max(high, last + 1)];
      }
      sights.push({ first: low, end: high });
    }
    return sights;
  }

  /** Numbers of the chunks in which some tokens of one sequence see keys, from the first key of that on. */
  chunks(token: number, behind: number): { low: number; high: number } {
    const base = this.base(token);
    let [first, last] = [Infinity, 0];
    for (let at = token; at < behind; at++) {
      first = Math.min(first, this.first(at));
      last = Math.max(last, this.last(at));
    }
    return { low: Math.floor((first - base) / this.chunk), high: Math.floor((last - base) / this.chunk) };
  }

  /** States that have seen nothing. */
  begin(pairs: number): void {
    const words = this.on.words(0);
    words.fill(NEVER_BITS, this.stateTops / 4, this.stateTops / 4 + MOST_PAIRS);
    words.fill(0, this.stateSums / 4, this.stateSums / 4 + MOST_PAIRS);
    words.fill(0, this.states / 4, this.states / 4 + pairs * this.head);
  }

  /**
   * Is a value among those of the keys no finite number? Pairs of a panel are multiplied with the keys of all of them, and 0 · ∞ is
   * NaN: then any of them shows it, and each token is to be computed alone, so that it reaches those who see it and nobody else.
   */
  isBroken(pairs: number): boolean {
    const words = this.on.words(0);
    for (let panel = 0; panel < pairs; panel += this.on.code.panelCols) {
      const first = this.states / 4 + panel * this.head;
      const end = first + this.head;
      for (let at = first; at < end; at++) if (((words[at] ?? 0) & EXPONENT) === EXPONENT) return true;
    }
    return false;
  }

  /** What a chunk came to, the sums of columns from `col` on in `results`, enters the states of pairs from `first` on. */
  enter(first: number, count: number, col: number, width: number, from: number, pitch: number): void {
    const to = this.states + (first * this.head + col) * 4;
    const { on, head, tops, sums } = this;
    on.call(on.routines.rescale, from, pitch, fours(width), count, to, head * 4, tops, sums);
  }

  /** Stores records of a chunk, from number `record` on: the largest score and the sum, two words of nothing, and the sums of values. */
  store(record: number, count: number): void {
    const { on, head, word } = this;
    const bytes = word(AT.recordBytes);
    const to = word(AT.records) + record * bytes;
    const words = on.words(to + count * bytes);
    for (let pair = 0; pair < count; pair++) {
      words[(to + pair * bytes) / 4] = words[this.stateTops / 4 + pair] ?? 0;
      words[(to + pair * bytes) / 4 + 1] = words[this.stateSums / 4 + pair] ?? 0;
    }
    on.call(on.routines.copy.F32, this.states, head * 4, count, fours(head), to + 16, bytes);
  }

  join(first: number): void {
    const { on, tops, sums, stateTops, stateSums } = this;
    on.call(on.routines.join, tops, sums, stateTops + first * 4, stateSums + first * 4);
  }
}
