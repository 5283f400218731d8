// Products of a few rows with rows of a stored matrix: what these take is to read that. So squares of it are turned around in
// registers and multiplied there, and no panel is written. The sums are those of tile.ts, to the last bit.
import { type At, type Machine, STORED_BYTES, type Stored } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { BLOCK_TERMS, FEW_PITCH, LINE, ROW_PITCH, ROWS_AT } from "./layout.ts";
import { readSquare } from "./vectors.ts";

/** Rows of x at most. */
export const FEW_ROWS = 14;

const FEW = {
  terms: "number",
  /** Blocks of terms one after the other, each of all rows, `ROW_PITCH` apart; one row as it is. */
  x: "address",
  /** Partial sums, one after the other: each of all rows, `FEW_PITCH` apart. */
  to: "address",
  /** What will be read next, as long as this is: it is asked of memory meanwhile, as of rows side by side no processor foresees it. */
  ahead: "address",
  /** Room for a column. */
  column: "address",
  /** So many times: the rows that follow, as many and `next` bytes further, have their sums beside the former ones. */
  blocks: "number",
  next: "f32",
} as const;

export function few(m: Machine, rows: number, stored: Stored): void {
  const { terms, x, to, ahead, column, blocks, others } = registers(m, FEW, 7);
  const [row = 0, here = 0, left = 0, now = 0, square = 0, offset = 0, target = 0] = others;
  const number = (of: number, term: number): At => ({ word: x, offset: of * ROW_PITCH + term * 4 });
  const eachSquare = (body: () => void): void => {
    m.zeroWord(square);
    m.zeroWord(left);
    m.add(left, { bytes: m.squares });
    m.steps(left, 1, () => {
      body();
      m.add(square, { bytes: m.lanes * 4 });
    });
  };
  // Rows' places in the list and sums are equally far apart.
  const sum = (row: number): At => ({ word: to, index: square, offset: row * FEW_PITCH });
  const pairs = stored === "BF16";
  const step = pairs ? 2 * m.lanes : m.lanes;
  /** Rows whose sums have registers beside a square; where there are more, it is multiplied by these first. */
  const most = m.registers - m.lanes - 2;
  const parts = Math.ceil(rows / most);
  const partRows = Math.ceil(rows / parts);
  m.copy(target, to);
  m.zeroWord(offset);
  m.steps(blocks, 1, () => {
    m.argument(terms, indexOf(FEW, "terms"));
    m.address(x, indexOf(FEW, "x"));
    m.address(ahead, indexOf(FEW, "ahead"));
    m.add(ahead, offset);
    m.heap(here);
    m.add(here, offset);
    m.copy(to, target);
    m.steps(terms, 1, () => {
      m.add(terms, { bytes: 1 });
      m.take(now, terms, BLOCK_TERMS);
      eachSquare(() => {
        m.zero(0);
        for (let at = 0; at < rows; at++) m.store(0, sum(at));
      });
      m.steps(now, step, () => {
        eachSquare(() => {
          const columns = readSquare(m, stored, (at) => {
            m.argumentBehind(row, ROWS_AT + at, square);
            return { word: here, index: row };
          });
          const free = columns.includes(0) ? m.lanes : 0;
          const [half, factor] = [free, free + 1];
          const bytes = m.lanes * step * STORED_BYTES[stored];
          for (let first = 0; first < rows; first += partRows) {
            const part = Array.from({ length: Math.min(partRows, rows - first) }, (_, at) => ({
              of: first + at,
              lanes: free + 2 + at,
            }));
            const multiply = (numbers: number, term: number): void => {
              for (const { of, lanes } of part) m.fmaOf(lanes, numbers, number(of, term), factor);
            };
            for (const { of, lanes } of part) m.load(lanes, sum(of));
            columns.forEach((both, at) => {
              if (first === 0 && at * LINE < bytes) m.prefetch({ word: ahead, offset: at * LINE });
              if (!pairs) return multiply(both, at);
              m.lowerHalves(half, both);
              multiply(half, 2 * at);
              m.upperHalves(half, both);
              multiply(half, 2 * at + 1);
            });
            for (const { of, lanes } of part) m.store(lanes, sum(of));
          }
          m.add(ahead, { bytes });
        });
        m.add(here, { bytes: step * STORED_BYTES[stored] });
        m.add(x, { bytes: step * 4 });
      });
      m.steps(now, 1, () => {
        eachSquare(() => {
          for (let at = 0; at < m.lanes; at++) {
            m.argumentBehind(row, ROWS_AT + at, square);
            m.read(0, { word: here, index: row }, stored, "one");
            m.store(0, { word: column, offset: at * 4 }, "one");
          }
          m.load(0, { word: column });
          for (let of = 0; of < rows; of++) {
            m.load(1, sum(of));
            m.fmaOf(1, 0, number(of, 0), 2);
            m.store(1, sum(of));
          }
        });
        m.add(here, { bytes: STORED_BYTES[stored] });
        m.add(x, { bytes: 4 });
      });
      if (rows > 1) m.add(x, { bytes: rows * ROW_PITCH - BLOCK_TERMS * 4 });
      m.add(to, { bytes: rows * FEW_PITCH });
    });
    m.add(target, { bytes: m.squares * m.lanes * 4 });
    m.argument(row, indexOf(FEW, "next"));
    m.add(offset, row);
  });
}
