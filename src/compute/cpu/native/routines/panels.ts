// Panels of a matrix's columns as tiles read them: term after term, the numbers of all columns side by side, in f32. Of a matrix whose
// rows are the terms they are copies.
import { type Machine, STORED_BYTES, type Stored } from "../machine.ts";
import { registers } from "./arguments.ts";
import { LINE, panelCols, ROWS_AT } from "./layout.ts";
import { readSquare } from "./vectors.ts";

const PANEL_FROM_ROWS = {
  /** Of the first term that is wanted, in every row. */
  offset: "number",
  terms: "number",
  to: "address",
  /** As of `FEW`. */
  ahead: "address",
} as const;

/** Of a matrix whose rows run along the terms: squares of it are turned around in registers. */
export function panelFromRows(m: Machine, stored: Stored): void {
  const { offset, terms, to, ahead, others } = registers(m, PANEL_FROM_ROWS, 4);
  const [here = 0, row = 0, target = 0, left = 0] = others;
  const next = panelCols(m) * 4;
  const squares = m.tile.vectors;
  // Two BF16 numbers are turned around as one.
  const pairs = stored === "BF16";
  const terms1 = pairs ? 2 * m.lanes : m.lanes;
  for (let square = 0; square < squares; square++) {
    const first = square * m.lanes;
    m.heap(here);
    m.add(here, offset);
    m.copy(target, to);
    m.add(target, { bytes: first * 4 });
    m.copy(left, terms);
    m.steps(left, terms1, () => {
      const columns = readSquare(m, stored, (at) => {
        m.argument(row, ROWS_AT + first + at);
        return { word: here, index: row };
      });
      const free = columns.includes(0) ? m.lanes : 0;
      const bytes = m.lanes * terms1 * STORED_BYTES[stored];
      columns.forEach((column, at) => {
        if (at * LINE < bytes) m.prefetch({ word: ahead, offset: at * LINE });
        if (!pairs) return m.store(column, { word: target, offset: at * next });
        m.lowerHalves(free, column);
        m.upperHalves(column, column);
        m.store(free, { word: target, offset: 2 * at * next });
        m.store(column, { word: target, offset: (2 * at + 1) * next });
      });
      m.add(ahead, { bytes });
      m.add(here, { bytes: terms1 * STORED_BYTES[stored] });
      m.add(target, { bytes: terms1 * next });
    });
    m.steps(left, 1, () => {
      for (let at = 0; at < m.lanes; at++) {
        m.argument(row, ROWS_AT + first + at);
        m.read(0, { word: here, index: row }, stored, "one");
        m.store(0, { word: target, offset: at * 4 }, "one");
      }
      m.add(here, { bytes: STORED_BYTES[stored] });
      m.add(target, { bytes: next });
    });
  }
}
