// The softmax of attention, chunk after chunk (Milakov and Gimelshein, arXiv:1805.02867). Pairs of a token and a head stand side by
// side in the lanes, keys follow one another: so a pair's sums add up key after key, however many pairs a vector has.
import type { Lanes, Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { exp, log, number, tanh } from "./functions.ts";
import { panelCols } from "./layout.ts";

/** Below every score. */
export const NEVER = -3e38;

/** mask = all bits where a key is before the first or behind the last one that is seen. Numbers of keys are below 2^31. */
export function unseen(m: Machine, mask: Lanes, key: Lanes, first: Lanes, last: Lanes, temporary: Lanes): void {
  m.subtractWhole(mask, key, first);
  m.subtractWhole(temporary, last, key);
  m.or(mask, mask, temporary);
  m.shiftRight(mask, mask, 31);
}

/**
 * Scores of keys that are not seen become −∞, and the largest one enters `top`.
 * @param step to the numbers of the keys that follow
 */
export function maskScores(
  m: Machine,
  { score, top, key, first, last }: Readonly<Record<"score" | "top" | "key" | "first" | "last", Lanes>>,
  step: number,
  [a, b]: readonly [Lanes, Lanes],
): void {
  unseen(m, a, key, first, last, b);
  m.andNot(score, score, a);
  number(m, b, -Infinity);
  m.and(a, a, b);
  m.or(score, score, a);
  m.largest(top, top, score);
  m.constant(a, step);
  m.addWhole(key, key, a);
}

/** x = cap · tanh(x / cap). */
export function capped(
  m: Machine,
  x: Lanes,
  cap: Lanes,
  temporaries: readonly [Lanes, Lanes, Lanes, Lanes, Lanes, Lanes],
): void {
  m.divide(x, x, cap);
  tanh(m, x, temporaries);
  m.multiply(x, cap, x);
}

const SOFTMAX = {
  /** Rows of a panel's pairs, a key each: q · key, which become exp(score − top), and 0 where the key is not seen. */
  scores: "address",
  keys: "number",
  /** Of each pair: the first and the last key that it sees; then what comes of it, its largest score and the sum of what is here. */
  firsts: "address",
  lasts: "address",
  tops: "address",
  sums: "address",
  /** The number of the first key. */
  key: "f32",
  scale: "f32",
  cap: "f32",
} as const;

/** @param caps scores are bent towards a cap */
export function softmax(m: Machine, caps: boolean): void {
  const { scores, keys, firsts, lasts, tops, sums, others } = registers(m, SOFTMAX, 2);
  const [here = 0, left = 0] = others;
  const [score, top, first, last, key, scale, cap, a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
  const width = panelCols(m) * 4;
  m.broadcastArgument(scale, indexOf(SOFTMAX, "scale"));
  m.broadcastArgument(cap, indexOf(SOFTMAX, "cap"));
  for (let offset = 0; offset < width; offset += m.lanes * 4) {
    const each = (body: () => void) => {
      m.copy(here, scores);
      m.copy(left, keys);
      m.steps(left, 1, () => {
        m.load(score, { word: here, offset });
        body();
        m.store(score, { word: here, offset });
        m.add(here, { bytes: width });
      });
    };
    m.load(first, { word: firsts, offset });
    m.load(last, { word: lasts, offset });
    m.broadcastArgument(key, indexOf(SOFTMAX, "key"));
    number(m, top, NEVER);
    each(() => {
      m.multiply(score, scale, score);
      if (caps) capped(m, score, cap, [a, b, c, d, e, f]);
      maskScores(m, { score, top, key, first, last }, 1, [a, b]);
    });
    m.store(top, { word: tops, offset });
    m.zero(last);
    each(() => {
      m.subtract(score, score, top);
      exp(m, score, [a, b, c]);
      m.add32(last, last, score);
    });
    m.store(last, { word: sums, offset });
  }
}

const JOIN = {
  /** A panel's pairs: what a chunk came to. They become what each sum is to be multiplied by, that of before and that of the chunk. */
  tops: "address",
  sums: "address",
  /** What all before came to; then with the chunk. */
  stateTops: "address",
  stateSums: "address",
} as const;

/** A chunk's largest scores and sums join those of the chunks before. */
export function join(m: Machine): void {
  const { tops, sums, stateTops, stateSums } = registers(m, JOIN);
  const [kept, added, top, before, here, a, b, c] = [0, 1, 2, 3, 4, 5, 6, 7];
  for (let offset = 0; offset < panelCols(m) * 4; offset += m.lanes * 4) {
    m.load(kept, { word: stateTops, offset });
    m.load(added, { word: tops, offset });
    m.largest(top, kept, added);
    m.store(top, { word: stateTops, offset });
    m.subtract(kept, kept, top);
    m.subtract(added, added, top);
    exp(m, kept, [a, b, c]);
    exp(m, added, [a, b, c]);
    m.load(before, { word: stateSums, offset });
    m.load(here, { word: sums, offset });
    m.multiply(before, before, kept);
    m.fma(before, here, added);
    m.store(before, { word: stateSums, offset });
    m.store(kept, { word: tops, offset });
    m.store(added, { word: sums, offset });
  }
}

const LOG_SUMS = { tops: "address", sums: "address", to: "address" } as const;

/** log Σ exp(scores) of a panel's pairs. */
export function logSums(m: Machine): void {
  const { tops, sums, to } = registers(m, LOG_SUMS);
  for (let offset = 0; offset < panelCols(m) * 4; offset += m.lanes * 4) {
    m.load(0, { word: sums, offset });
    log(m, 0, [1, 2, 3, 4, 5]);
    m.load(1, { word: tops, offset });
    m.add32(0, 1, 0);
    m.store(0, { word: to, offset });
  }
}
