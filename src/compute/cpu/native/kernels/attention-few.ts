// Attention of a few pairs: keys and values are read as they lie, and nothing is laid in panels. The bits are those of panels.
import { ATTENTION } from "../../families/attention.ts";
import { wordsOf } from "../../parameters.ts";
import { FEW_ROWS } from "../routines/few.ts";
import { BLOCK_TERMS, ROW_PITCH } from "../routines/layout.ts";
import { ALONG_ROWS } from "../routines/softmax-along.ts";
import { WEIGHTED_ROWS } from "../routines/weighted.ts";
import type { Attention, Pairs } from "./attention-states.ts";
import { multiplyFew } from "./product.ts";
import { fours, PLAIN, storeSums } from "./tiles.ts";

const AT = wordsOf(ATTENTION);

/** What products of queries and keys are not. */
const SCORES = { ...PLAIN, aTerms: false, bTerms: false, scales: 0, scalesPitch: 0 } as const;

/** `FEW_PAIRS` pairs at most and the keys of a chunk from `from` to one before `to`, side by side. */
export function attendFew(p: Attention, pairs: Pairs, from: number, to: number): void {
  const { on, head, word } = p;
  const { panelCols } = on.code;
  const keys = p.rows("keys", pairs.kvHead, from, to - from);
  const { heads, token, firstHead, count } = pairs;
  const { scores } = p;
  // Sums of several blocks of terms are scaled together, as in a panel.
  const isWhole = head <= BLOCK_TERMS;
  for (let pair = 0; pair < count;) {
    const [of, offset] = [token + Math.floor(pair / heads), pair % heads];
    const rows = Math.min(FEW_ROWS, heads - offset, count - pair);
    const product = {
      ...SCORES,
      stored: keys.stored,
      rows,
      cols: to - from,
      terms: head,
      a: word(AT.q) + of * word(AT.qPitch) + (firstHead + offset) * head * 4,
      aPitch: head * 4,
      b: keys.at,
      bPitch: keys.pitch,
      y: scores + pair * ROW_PITCH,
      yPitch: ROW_PITCH,
      scale: isWhole ? word(AT.scale) : SCORES.scale,
    };
    multiplyFew(on, product, keys.stored, 0, rows, 0, to - from, p.values);
    pair += rows;
  }
  if (!isWhole) {
    const target = { ...PLAIN, y: scores, yPitch: ROW_PITCH, scale: word(AT.scale) };
    storeSums(on, scores, ROW_PITCH, count, to - from, target, 0, 0, true);
  }
  const words = on.words(0);
  for (let key = 0; key < panelCols; key++) words[p.firsts / 4 + key] = from + key;
  const routines = on.routines.softmaxAlong[word(AT.cap) === 0 ? 0 : 1];
  for (let pair = 0; pair < count;) {
    const of = token + Math.floor(pair / heads);
    const rows = Math.min(ALONG_ROWS, heads - (pair % heads), count - pair);
    const [top, sum] = [p.tops + pair * 4, p.sums + pair * 4];
    const [first, last] = [p.first(of), Math.min(p.last(of), to - 1)];
    const routine = routines?.[rows] ?? 0;
    on.call(routine, scores + pair * ROW_PITCH, to - from, top, sum, p.firsts, p.lasts, first, last, word(AT.cap));
    pair += rows;
  }
  p.join(0);
  const values = p.rows("values", pairs.kvHead, from, to - from);
  for (let pair = 0; pair < count; pair += WEIGHTED_ROWS) {
    const rows = Math.min(WEIGHTED_ROWS, count - pair);
    const [weights, sums] = [scores + pair * ROW_PITCH, p.values + pair * head * 4];
    const routine = on.routines.weighted[values.stored][rows] ?? 0;
    on.call(routine, weights, values.at, values.pitch, to - from, fours(head), sums, head * 4);
  }
  p.enter(0, count, 0, head, p.values, head * 4);
}
