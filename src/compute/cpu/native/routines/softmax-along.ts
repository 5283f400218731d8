// softmax.ts for a few pairs whose keys stand side by side. The bits are the same: the largest score depends on no order, and sums are
// added up key after key, those of all pairs at once, as each waits for its last term.
import type { Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { exp, number } from "./functions.ts";
import { ROW_PITCH } from "./layout.ts";
import { capped, maskScores, NEVER } from "./softmax.ts";

/** Pairs of one token at most. */
export const ALONG_ROWS = 4;

const SOFTMAX_ALONG = {
  /** Rows, `ROW_PITCH` apart, of whole vectors: scale · q · key, which become exp(score − top), and 0 where the key is not seen. */
  scores: "address",
  keys: "number",
  /** Where the pairs' largest scores and the sums go. */
  top: "address",
  sum: "address",
  /** Numbers of a vector's keys, from the first one on; and room for a vector. */
  numbers: "address",
  room: "address",
  /** The first and the last key that the token sees; the last is among the `keys`. */
  first: "f32",
  last: "f32",
  cap: "f32",
} as const;

/** @param caps scores are bent towards a cap */
export function softmaxAlong(m: Machine, rows: number, caps: boolean): void {
  const { scores, keys, top: topAt, sum: sumAt, numbers, room, others } = registers(m, SOFTMAX_ALONG, 2);
  const [here = 0, left = 0] = others;
  const [score, top, first, last, key, cap, a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
  const each = (offset: number, body: () => void) => {
    m.copy(here, scores);
    m.copy(left, keys);
    // The last vector may be a part of one.
    m.add(left, { bytes: m.lanes - 1 });
    m.steps(left, m.lanes, () => {
      m.load(score, { word: here, offset });
      body();
      m.store(score, { word: here, offset });
      m.add(here, { bytes: m.lanes * 4 });
    });
  };
  m.broadcastArgument(first, indexOf(SOFTMAX_ALONG, "first"));
  m.broadcastArgument(last, indexOf(SOFTMAX_ALONG, "last"));
  m.broadcastArgument(cap, indexOf(SOFTMAX_ALONG, "cap"));
  for (let row = 0; row < rows; row++) {
    m.load(key, { word: numbers });
    number(m, top, NEVER);
    each(row * ROW_PITCH, () => {
      if (caps) capped(m, score, cap, [a, b, c, d, e, f]);
      maskScores(m, { score, top, key, first, last }, m.lanes, [a, b]);
    });
    m.store(top, { word: room });
    for (let lane = 0; lane < m.lanes; lane++) {
      m.broadcast(a, { word: room, offset: lane * 4 });
      m.largest(top, top, a);
    }
    m.store(top, { word: topAt, offset: row * 4 }, "one");
    each(row * ROW_PITCH, () => {
      m.subtract(score, score, top);
      exp(m, score, [a, b, c]);
    });
  }
  for (let row = 0; row < rows; row++) m.zero(row);
  m.copy(here, scores);
  m.steps(keys, 1, () => {
    for (let row = 0; row < rows; row++) {
      m.load(rows, { word: here, offset: row * ROW_PITCH }, "one");
      m.add32(row, row, rows);
    }
    m.add(here, { bytes: 4 });
  });
  for (let row = 0; row < rows; row++) m.store(row, { word: sumAt, offset: row * 4 }, "one");
}
