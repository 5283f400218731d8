// Sums without products: lists say which terms of a panel a row of a ternary basis adds, and which it subtracts. Zeros cost nothing.
import type { Machine } from "../machine.ts";
import { registers } from "./arguments.ts";
import { LINE, panelCols } from "./layout.ts";

const SUM_LISTS = {
  /** Of each row: how many pairs there are, and these: where in the panel a term is that is added, and one that is subtracted. */
  lists: "address",
  rows: "number",
  panel: "address",
  to: "address",
  /** Where the sums will be added to: each row is asked of memory while it is summed. */
  ahead: "address",
  aheadPitch: "number",
} as const;

export function sumLists(m: Machine): void {
  const { lists, rows, panel, to, ahead, aheadPitch, others } = registers(m, SUM_LISTS, 3);
  const [left = 0, plus = 0, minus = 0] = others;
  const { vectors } = m.tile;
  const added = (vector: number) => vector;
  const subtracted = (vector: number) => vectors + vector;
  const each = (use: (vector: number, offset: number) => void): void => {
    for (let vector = 0; vector < vectors; vector++) use(vector, vector * m.lanes * 4);
  };
  m.steps(rows, 1, () => {
    m.loadWord(left, { word: lists });
    m.add(lists, { bytes: 4 });
    for (let at = 0; at < panelCols(m) * 4; at += LINE) m.prefetch({ word: ahead, offset: at });
    m.add(ahead, aheadPitch);
    each((vector) => {
      m.zero(added(vector));
      m.zero(subtracted(vector));
    });
    m.steps(left, 1, () => {
      m.loadWords(plus, minus, { word: lists });
      m.add(plus, panel);
      m.add(minus, panel);
      each((vector, offset) => m.addFrom(added(vector), { word: plus, offset }));
      each((vector, offset) => m.addFrom(subtracted(vector), { word: minus, offset }));
      m.add(lists, { bytes: 8 });
    });
    each((vector, offset) => {
      m.subtract(added(vector), added(vector), subtracted(vector));
      m.store(added(vector), { word: to, offset });
    });
    m.add(to, { bytes: panelCols(m) * 4 });
  });
}
