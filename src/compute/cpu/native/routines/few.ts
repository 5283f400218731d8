// Products of a few rows with rows of a stored matrix: what these take is to read that. So squares of it are turned around in
// registers and multiplied there, and no panel is written. The sums are those of tile.ts, to the last bit.
import { type Machine, STORED_BYTES, type Stored } from "../machine.ts";
import { registers } from "./arguments.ts";
import { BLOCK_TERMS, FEW_PITCH, LINE, ROWS_AT } from "./layout.ts";

/** Rows of x at most. */
export const FEW_ROWS = 4;

const FEW = {
  terms: "number",
  x: "address",
  xPitch: "number",
  /** Partial sums, one after the other: each of all rows, `FEW_PITCH` apart. */
  to: "address",
  /** Room for a column. */
  column: "address",
  /** What will be read next, as long as this is: it is asked of memory meanwhile, as of rows side by side no processor foresees it. */
  ahead: "address",
} as const;

export function few(m: Machine, rows: number, stored: Stored): void {
  const { terms, x, xPitch, to, column, ahead, others } = registers(m, FEW, rows + 3);
  const [row = 0, here = 0, left = 0, now = 0, ...further] = others;
  const xs = [x, ...further];
  for (let at = 1; at < rows; at++) {
    m.copy(xs[at] ?? 0, xs[at - 1] ?? 0);
    m.add(xs[at] ?? 0, xPitch);
  }
  m.heap(here);
  // The register of what is not needed any more. Rows' places in the list and sums are equally far apart.
  const square = xPitch;
  const eachSquare = (body: () => void): void => {
    m.zeroWord(square);
    m.zeroWord(left);
    m.add(left, { bytes: m.squares });
    m.steps(left, 1, () => {
      body();
      m.add(square, { bytes: m.lanes * 4 });
    });
  };
  const sum = (row: number) => ({ word: to, index: square, offset: row * FEW_PITCH });
  const pairs = stored === "BF16";
  const step = pairs ? 2 * m.lanes : m.lanes;
  m.steps(terms, 1, () => {
    m.add(terms, { bytes: 1 });
    m.take(now, terms, BLOCK_TERMS);
    eachSquare(() => {
      m.zero(0);
      for (let at = 0; at < rows; at++) m.store(0, sum(at));
    });
    m.steps(now, step, () => {
      eachSquare(() => {
        for (let at = 0; at < m.lanes; at++) {
          m.argumentBehind(row, ROWS_AT + at, square);
          if (pairs) m.load(at, { word: here, index: row });
          else m.read(at, { word: here, index: row }, stored);
        }
        const columns = m.transpose();
        const free = columns.includes(0) ? m.lanes : 0;
        const [low, factor] = [free, free + 1];
        const sums = xs.map((_, at) => free + 2 + at);
        xs.forEach((_, at) => m.load(sums[at] ?? 0, sum(at)));
        const multiply = (numbers: number, term: number) =>
          xs.forEach((word, at) => {
            m.broadcast(factor, { word, offset: term * 4 });
            m.fma(sums[at] ?? 0, factor, numbers);
          });
        const bytes = m.lanes * step * STORED_BYTES[stored];
        columns.forEach((both, at) => {
          if (at * LINE < bytes) m.prefetch({ word: ahead, offset: at * LINE });
          if (!pairs) return multiply(both, at);
          m.lowerHalves(low, both);
          multiply(low, 2 * at);
          m.upperHalves(both, both);
          multiply(both, 2 * at + 1);
        });
        xs.forEach((_, at) => m.store(sums[at] ?? 0, sum(at)));
        m.add(ahead, { bytes });
      });
      m.add(here, { bytes: step * STORED_BYTES[stored] });
      for (const word of xs) m.add(word, { bytes: step * 4 });
    });
    m.steps(now, 1, () => {
      eachSquare(() => {
        for (let at = 0; at < m.lanes; at++) {
          m.argumentBehind(row, ROWS_AT + at, square);
          m.read(0, { word: here, index: row }, stored, "one");
          m.store(0, { word: column, offset: at * 4 }, "one");
        }
        m.load(0, { word: column });
        xs.forEach((word, at) => {
          m.load(1, sum(at));
          m.broadcast(2, { word });
          m.fma(1, 2, 0);
          m.store(1, sum(at));
        });
      });
      m.add(here, { bytes: STORED_BYTES[stored] });
      for (const word of xs) m.add(word, { bytes: 4 });
    });
    m.add(to, { bytes: rows * FEW_PITCH });
  });
}
