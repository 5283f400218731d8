// The gradients of attention by tiles of scores (algorithm 4 of Dao et al., arXiv:2205.14135), as the module's attention-gradient.ts has
// them: a piece owns some rows of one side, in the lanes, and the other side follows in chunks. What each token needs beside its rows, the
// module's `attentionStats` has made.
import { STATS } from "../../families/attention-gradient.ts";
import type { Caller } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { ROW_PITCH } from "../routines/layout.ts";
import { panelOfRows, rowsOf, termsBytes, termsOf } from "./attention-panels.ts";
import { multiplyTiles, PLAIN, storeSums, type Target } from "./tiles.ts";

const AT = wordsOf(STATS);

/** A command's parameters, and where things are in scratch. */
class Gradient {
  readonly on: Caller;
  readonly word: (index: number) => number;
  readonly head: number;
  readonly chunk: number;
  readonly pieceRows: number;
  /** Of the own rows of a panel: where they are queries, what each token needs; where they are keys, their numbers. */
  readonly lanes: number;
  readonly scores: number;
  readonly products: number;
  readonly results: number;
  /** Panels of the own rows, of both operands. */
  readonly own: number;
  readonly ownOthers: number;
  /** Rows of the others, as tiles multiply them, and as terms. */
  readonly rows: number;
  readonly otherRows: number;
  readonly terms: number;
  readonly otherTerms: number;

  constructor(on: Caller, parameters: number) {
    this.on = on;
    const word = on.reader(parameters, AT.count);
    this.word = word;
    this.head = word(AT.head);
    this.chunk = word(AT.chunk);
    this.pieceRows = word(AT.pieceRows);
    const { panelCols } = on.code;
    let next = on.scratch;
    const room = (bytes: number): number => {
      const at = next;
      next += bytes;
      return at;
    };
    this.lanes = room(4 * panelCols * 4);
    this.scores = room(this.chunk * panelCols * 4);
    this.products = room(this.chunk * panelCols * 4);
    this.results = room(panelCols * panelCols * 4);
    const panels = Math.ceil(this.pieceRows / panelCols) * panelCols * this.head * 4;
    this.own = room(panels);
    this.ownOthers = room(panels);
    this.rows = room(this.chunk * ROW_PITCH);
    this.otherRows = room(this.chunk * ROW_PITCH);
    this.terms = room(termsBytes(on, this.head, this.chunk));
    this.otherTerms = room(termsBytes(on, this.head, this.chunk));
  }

  /** Rows of what the stats have of tokens, in words: first and last keys, and of each head log Σ exp(scores) and dy · y. */
  stats(row: number): number {
    return (this.word(AT.stats) + row * this.word(AT.statsPitch)) / 4;
  }

  /** Panels of own rows: of q and dy, or of keys and values. */
  takeOwn(operands: readonly [from: number, pitch: number][], rows: number): void {
    const { on, head } = this;
    const { panelCols } = on.code;
    for (let panel = 0; panel < rows; panel += panelCols) {
      operands.forEach(([from, pitch], at) => {
        const to = (at === 0 ? this.own : this.ownOthers) + panel * head * 4;
        panelOfRows(on, from + panel * pitch, pitch, Math.min(panelCols, rows - panel), head, to);
      });
    }
  }

  /** q · key and dy · value of a panel of own rows with `count` of the others from number `low` of the chunk on. */
  multiply(panel: number, low: number, count: number): void {
    const { on, head } = this;
    const place = panel * head * 4;
    multiplyTiles(on, "terms", this.rows + low * ROW_PITCH, count, this.own + place, head, this.scores);
    multiplyTiles(on, "terms", this.otherRows + low * ROW_PITCH, count, this.ownOthers + place, head, this.products);
  }

  /** The products become slopes and weights. */
  weigh(lanes: "queries" | "keys", count: number, of: Tokens, key: number): void {
    const { on, word } = this;
    const routine = on.routines.slopes[lanes][word(AT.cap) === 0 ? 0 : 1] ?? 0;
    const { firsts, lasts, logSums, rests } = of;
    const { scores, products } = this;
    const [scale, cap] = [word(AT.scale), word(AT.cap)];
    on.call(routine, scores, products, count, firsts, lasts, logSums, rests, this.lanes, key, scale, cap);
  }

  /** Adds what slopes or weights of `own` rows make of the others' terms. */
  add(slopes: number, own: number, terms: number, low: number, count: number, target: Target): void {
    const { on, head, chunk } = this;
    const { panelCols } = on.code;
    for (let col = 0; col < head; col += panelCols) {
      const from = terms + (col * chunk + low * panelCols) * 4;
      multiplyTiles(on, "rows", slopes, own, from, count, this.results, panelCols * 4);
      const cols = Math.min(panelCols, head - col);
      storeSums(on, this.results, panelCols * 4, own, cols, target, 0, col, true);
    }
  }
}

/** Where numbers of tokens begin. */
interface Tokens {
  readonly firsts: number;
  readonly lasts: number;
  readonly logSums: number;
  readonly rests: number;
}

/** dq = Σ slopes · keys, of some queries of one head. */
export function attentionQueries(on: Caller, parameters: number, piece: number): void {
  const p = new Gradient(on, parameters);
  const { word, head, chunk, pieceRows } = p;
  const { panelCols } = on.code;
  const [heads, tokens] = [word(AT.heads), word(AT.tokens)];
  const ofHead = piece % heads;
  // The last tokens see the most keys: they come first.
  const begin = (Math.ceil(tokens / pieceRows) - 1 - Math.floor(piece / heads)) * pieceRows;
  const rows = Math.min(pieceRows, tokens - begin);
  const place = ofHead * head * 4;
  const kvPlace = Math.floor(ofHead / word(AT.group)) * head * 4;
  const [firsts, lasts, logSums, rests] = [0, 1, 2 + 2 * ofHead, 3 + 2 * ofHead].map((row) => p.stats(row)) as [
    number,
    number,
    number,
    number,
  ];
  const words = on.words((rests + tokens) * 4);
  const span = (from: number, count: number): [first: number, end: number] => {
    let [first, end] = [Infinity, 0];
    for (let token = begin + from; token < begin + from + count; token++) {
      first = Math.min(first, words[firsts + token] ?? 0);
      end = Math.max(end, (words[lasts + token] ?? 0) + 1);
    }
    return [first, end];
  };
  p.takeOwn(
    [
      [word(AT.q) + begin * word(AT.qPitch) + place, word(AT.qPitch)],
      [word(AT.dy) + begin * word(AT.dyPitch) + place, word(AT.dyPitch)],
    ],
    rows,
  );
  const [first, end] = span(0, rows);
  const started = new Set<number>();
  for (let start = Math.floor(first / chunk) * chunk; start < end; start += chunk) {
    const [from, to] = [Math.max(first, start), Math.min(end, start + chunk)];
    const keys = word(AT.keys) + from * word(AT.keysPitch) + kvPlace;
    rowsOf(on, keys, word(AT.keysPitch), to - from, head, p.rows);
    const values = word(AT.values) + from * word(AT.valuesPitch) + kvPlace;
    rowsOf(on, values, word(AT.valuesPitch), to - from, head, p.otherRows);
    termsOf(on, keys, word(AT.keysPitch), to - from, head, chunk, p.terms);
    for (let panel = 0; panel < rows; panel += panelCols) {
      const own = Math.min(panelCols, rows - panel);
      const [panelFirst, panelEnd] = span(panel, own);
      const [low, high] = [Math.max(panelFirst, from), Math.min(panelEnd, to)];
      if (low >= high) continue;
      [firsts, lasts, logSums, rests].forEach((row, at) => {
        for (let lane = 0; lane < panelCols; lane++) {
          words[p.lanes / 4 + at * panelCols + lane] = words[row + begin + panel + Math.min(lane, own - 1)] ?? 0;
        }
      });
      p.multiply(panel, low - from, high - low);
      const lane = (at: number) => p.lanes + at * panelCols * 4;
      p.weigh("queries", high - low, { firsts: lane(0), lasts: lane(1), logSums: lane(2), rests: lane(3) }, low);
      const at = word(AT.dq) + (begin + panel) * word(AT.dqPitch) + place;
      const target = { ...PLAIN, y: at, yPitch: word(AT.dqPitch), accumulate: started.has(panel) };
      p.add(p.scores, own, p.terms, low - from, high - low, target);
      started.add(panel);
    }
  }
}

/** dkeys = Σ slopes · q, dvalues = Σ weights · dy, of some keys of one kv head, over the queries of its heads. */
export function attentionKeys(on: Caller, parameters: number, piece: number): void {
  const p = new Gradient(on, parameters);
  const { word, head, chunk, pieceRows } = p;
  const { panelCols } = on.code;
  const [kvHeads, group, tokens] = [word(AT.kvHeads), word(AT.group), word(AT.tokens)];
  const kvHead = piece % kvHeads;
  const begin = Math.floor(piece / kvHeads) * pieceRows;
  const rows = Math.min(pieceRows, word(AT.positions) - begin);
  const kvPlace = kvHead * head * 4;
  const [firsts, lasts] = [p.stats(0), p.stats(1)];
  const words = on.words((lasts + tokens) * 4);
  /** The tokens of a chunk from the first to one behind the last that sees one of some keys. */
  const span = (start: number, end: number, key: number, keys: number): [low: number, high: number] => {
    const sees = (token: number) => (words[firsts + token] ?? 0) < key + keys && (words[lasts + token] ?? 0) >= key;
    let [low, high] = [start, end];
    while (low < high && !sees(low)) low++;
    while (high > low && !sees(high - 1)) high--;
    return [low, high];
  };
  p.takeOwn(
    [
      [word(AT.keys) + begin * word(AT.keysPitch) + kvPlace, word(AT.keysPitch)],
      [word(AT.values) + begin * word(AT.valuesPitch) + kvPlace, word(AT.valuesPitch)],
    ],
    rows,
  );
  const targets = [
    { of: word(AT.dkeys), pitch: word(AT.dkeysPitch), slopes: p.scores, terms: p.terms },
    { of: word(AT.dvalues), pitch: word(AT.dvaluesPitch), slopes: p.products, terms: p.otherTerms },
  ].filter(({ of }) => of !== 0);
  const started = new Set<number>();
  for (let start = 0; start < tokens; start += chunk) {
    const [from, to] = span(start, Math.min(start + chunk, tokens), begin, rows);
    if (from >= to) continue;
    for (let ofHead = kvHead * group; ofHead < (kvHead + 1) * group; ofHead++) {
      const q = word(AT.q) + from * word(AT.qPitch) + ofHead * head * 4;
      const dy = word(AT.dy) + from * word(AT.dyPitch) + ofHead * head * 4;
      rowsOf(on, q, word(AT.qPitch), to - from, head, p.rows);
      rowsOf(on, dy, word(AT.dyPitch), to - from, head, p.otherRows);
      if (word(AT.dkeys) !== 0) termsOf(on, q, word(AT.qPitch), to - from, head, chunk, p.terms);
      if (word(AT.dvalues) !== 0) termsOf(on, dy, word(AT.dyPitch), to - from, head, chunk, p.otherTerms);
      for (let panel = 0; panel < rows; panel += panelCols) {
        const own = Math.min(panelCols, rows - panel);
        const [low, high] = span(from, to, begin + panel, own);
        if (low >= high) continue;
        for (let lane = 0; lane < panelCols; lane++) words[p.lanes / 4 + lane] = begin + panel + lane;
        p.multiply(panel, low - from, high - low);
        const tokensAt = (row: number) => (p.stats(row) + low) * 4;
        const numbers = { logSums: tokensAt(2 + 2 * ofHead), rests: tokensAt(3 + 2 * ofHead) };
        p.weigh("keys", high - low, { firsts: tokensAt(0), lasts: tokensAt(1), ...numbers }, 0);
        for (const { of, pitch, slopes, terms } of targets) {
          const at = of + (begin + panel) * pitch + kvPlace;
          const target = { ...PLAIN, y: at, yPitch: pitch, accumulate: started.has(panel) };
          p.add(slopes, own, terms, low - from, high - low, target);
        }
        started.add(panel);
      }
    }
  }
  // Keys that nobody sees.
  for (let panel = 0; panel < rows; panel += panelCols) {
    if (started.has(panel)) continue;
    for (const { of, pitch } of targets) {
      for (let row = panel; row < Math.min(panel + panelCols, rows); row++) {
        const at = (of + (begin + row) * pitch + kvPlace) / 4;
        on.words((at + head) * 4).fill(0, at, at + head);
      }
    }
  }
}
