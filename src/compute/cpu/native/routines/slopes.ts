// The gradients of attention's scores. One side's rows stand side by side in the lanes, the other's follow one another.
import type { Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { exp, number } from "./functions.ts";
import { panelCols } from "./layout.ts";
import { capped, unseen } from "./softmax.ts";

const SLOPES = {
  /** q · key, which become ∂loss/∂(q · key). */
  scores: "address",
  /** dy · value, which become the weights. */
  products: "address",
  rows: "number",
  /** Of each token: the first and the last key that it sees, log Σ exp(scores), and dy · y. */
  firsts: "address",
  lasts: "address",
  logSums: "address",
  rests: "address",
  /** Numbers of the keys where these are in the lanes. */
  keys: "address",
  /** That of the first one, where they follow one another. */
  key: "f32",
  scale: "f32",
  cap: "f32",
} as const;

/** @param lanes what stands in the lanes */
export function slopes(m: Machine, lanes: "queries" | "keys", caps: boolean): void {
  const { scores, products, rows, firsts, lasts, logSums, rests, keys, others } = registers(m, SLOPES, 3);
  const [at = 0, left = 0, row = 0] = others;
  const [score, first, last, logSum, rest, key, scale, bend, a, b, c, d, e, f, cap] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
  ];
  const width = panelCols(m) * 4;
  const ofTokens = [
    [first, firsts],
    [last, lasts],
    [logSum, logSums],
    [rest, rests],
  ] as const;
  m.broadcastArgument(scale, indexOf(SLOPES, "scale"));
  m.broadcastArgument(cap, indexOf(SLOPES, "cap"));
  for (let offset = 0; offset < width; offset += m.lanes * 4) {
    if (lanes === "keys") m.load(key, { word: keys, offset });
    else {
      m.broadcastArgument(key, indexOf(SLOPES, "key"));
      for (const [to, word] of ofTokens) m.load(to, { word, offset });
    }
    m.zeroWord(at);
    m.zeroWord(row);
    m.copy(left, rows);
    m.steps(left, 1, () => {
      if (lanes === "keys") for (const [to, word] of ofTokens) m.broadcast(to, { word, index: row });
      m.load(score, { word: scores, index: at, offset });
      m.multiply(score, scale, score);
      if (caps) {
        // The cap's slope: 1 − tanh².
        capped(m, score, cap, [a, b, c, d, e, f]);
        m.divide(a, score, cap);
        m.multiply(a, a, a);
        number(m, bend, 1);
        m.subtract(bend, bend, a);
        m.multiply(bend, scale, bend);
      }
      m.subtract(score, score, logSum);
      exp(m, score, [a, b, c]);
      m.load(a, { word: products, index: at, offset });
      m.subtract(a, a, rest);
      m.multiply(b, caps ? bend : scale, score);
      m.multiply(a, b, a);
      unseen(m, b, key, first, last, c);
      m.andNot(score, score, b);
      m.andNot(a, a, b);
      m.store(a, { word: scores, index: at, offset });
      m.store(score, { word: products, index: at, offset });
      m.add(at, { bytes: width });
      if (lanes === "keys") m.add(row, { bytes: 4 });
      else {
        m.constant(a, 1);
        m.addWhole(key, key, a);
      }
    });
  }
}
