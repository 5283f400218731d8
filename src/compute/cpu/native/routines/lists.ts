// Sums without products: lists say which terms of a panel a row of a ternary basis adds, and which it subtracts. Zeros cost nothing.
import type { Machine } from "../machine.ts";
import { registers } from "./arguments.ts";
import { panelCols } from "./layout.ts";

const SUM_LISTS = {
  /** Of each row: how many pairs there are, and these: where in the panel a term is that is added, and one that is subtracted. */
  lists: "address",
  rows: "number",
  panel: "address",
  to: "address",
} as const;

export function sumLists(m: Machine): void {
  const { lists, rows, panel, to, others } = registers(m, SUM_LISTS, 3);
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
    each((vector) => {
      m.zero(added(vector));
      m.zero(subtracted(vector));
    });
    m.steps(left, 1, () => {
      m.loadWord(plus, { word: lists });
      m.loadWord(minus, { word: lists, offset: 4 });
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
