// The gradients of attention by tiles of scores (algorithm 4 of Dao et al., arXiv:2205.14135), so that no matrix of tokens × positions exists.
// A piece owns some rows of one side, in the lanes, and the other side follows in chunks:
//
//   side       own rows of    the others'     results
//   queries    q, dy          keys, values    dq = Σ slopes · keys
//   keys       keys, values   q, dy           dkeys = Σ slopes · q, dvalues = Σ weights · dy
//
// with weights = softmax of the scores and slopes = ∂loss/∂(q · key). Scores are computed for both sides; what that costs buys sums whose
// order does not depend on threads. What each token needs beside its rows, the module's `attentionStats` has made.
import { STATS } from "../../families/attention-gradient.ts";
import type { Caller } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { termsOf } from "./attention-panels.ts";
import { Gradient } from "./attention-slopes.ts";
import { copyRows, PLAIN } from "./tiles.ts";

const AT = wordsOf(STATS);

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
    copyRows(on, keys, word(AT.keysPitch), to - from, head, p.rows);
    const values = word(AT.values) + from * word(AT.valuesPitch) + kvPlace;
    copyRows(on, values, word(AT.valuesPitch), to - from, head, p.otherRows);
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
      p.multiply(panel, to - from, low - from, high - low);
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
      copyRows(on, q, word(AT.qPitch), to - from, head, p.rows);
      copyRows(on, dy, word(AT.dyPitch), to - from, head, p.otherRows);
      if (word(AT.dkeys) !== 0) termsOf(on, q, word(AT.qPitch), to - from, head, chunk, p.terms);
      if (word(AT.dvalues) !== 0) termsOf(on, dy, word(AT.dyPitch), to - from, head, chunk, p.otherTerms);
      for (let panel = 0; panel < rows; panel += panelCols) {
        const own = Math.min(panelCols, rows - panel);
        const [low, high] = span(from, to, begin + panel, own);
        if (low >= high) continue;
        for (let lane = 0; lane < panelCols; lane++) words[p.lanes / 4 + lane] = begin + panel + lane;
        p.multiply(panel, to - from, low - from, high - low);
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
