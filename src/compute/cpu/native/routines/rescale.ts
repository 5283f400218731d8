// Rows of which each is multiplied, or divided, by a number of its own.
import type { Machine } from "../machine.ts";
import { registers } from "./arguments.ts";
import { eachVector } from "./vectors.ts";

const RESCALE = {
  from: "address",
  fromPitch: "number",
  /** Numbers of a row, in fours. */
  fours: "number",
  rows: "number",
  to: "address",
  toPitch: "number",
  /** A number for each row of what `to` had, or the divisor, and for each of `from`. */
  kept: "address",
  added: "address",
} as const;

/** to = kept · to + added · from, or from / kept. */
export function rescale(m: Machine, divides: boolean): void {
  const { from, fromPitch, fours, rows, to, toPitch, kept, added, others } = registers(m, RESCALE, 2);
  const [at = 0, left = 0] = others;
  const [ofOld, ofNew, old, value] = [0, 1, 2, 3];
  m.steps(rows, 1, () => {
    m.broadcast(ofOld, { word: kept });
    if (!divides) m.broadcast(ofNew, { word: added });
    m.zeroWord(at);
    eachVector(m, fours, left, (count, numbers) => {
      m.load(value, { word: from, index: at }, count);
      if (divides) m.divide(old, value, ofOld);
      else {
        m.load(old, { word: to, index: at }, count);
        m.multiply(old, old, ofOld);
        m.fma(old, value, ofNew);
      }
      m.store(old, { word: to, index: at }, count);
      m.add(at, { bytes: numbers * 4 });
    });
    m.add(from, fromPitch);
    m.add(to, toPitch);
    m.add(kept, { bytes: 4 });
    m.add(added, { bytes: 4 });
  });
}
