// The heart of every product: some rows by the columns of a panel, sums in registers. Each sum adds its terms one after the other,
// by FMA: so its bits depend on nothing else, not even on how many numbers a vector has.
import type { At, Machine } from "../machine.ts";
import { registers } from "./arguments.ts";
import { panelCols, ROW_PITCH } from "./layout.ts";

const TILE = {
  x: "address",
  /** Bytes from term to term, of x whose rows are the terms. */
  pitch: "number",
  panel: "address",
  terms: "number",
  to: "address",
  /** Tiles of different rows. */
  count: "number",
} as const;

/** Terms of a turn. */
const UNROLLED = 4;

/** @param along what the rows of x run along: the terms, `ROW_PITCH` apart, or the tile's rows */
export function tile(m: Machine, rows: number, along: "terms" | "rows"): void {
  const { x, pitch, panel, terms, to, count, others } = registers(m, TILE, 3);
  const [here = 0, cols = 0, left = 0] = others;
  const { vectors } = m.tile;
  const width = panelCols(m) * 4;
  const sum = (row: number, vector: number) => row * vectors + vector;
  const b = (vector: number) => rows * vectors + vector;
  const a = (rows + 1) * vectors;

  /** Adds the products of `terms` terms. */
  const turn = (terms: number): void => {
    for (let term = 0; term < terms; term++) {
      for (let at = 0; at < vectors; at++) m.load(b(at), { word: cols, offset: term * width + at * m.lanes * 4 });
      for (let row = 0; row < rows; row++) {
        const number: At = { word: here, offset: along === "terms" ? row * ROW_PITCH + term * 4 : row * 4 };
        m.broadcast(a, number);
        for (let at = 0; at < vectors; at++) m.fma(sum(row, at), a, b(at));
      }
      if (along === "rows") m.add(here, pitch);
    }
    if (along === "terms") m.add(here, { bytes: terms * 4 });
    m.add(cols, { bytes: terms * width });
  };

  m.steps(count, 1, () => {
    m.copy(here, x);
    m.copy(cols, panel);
    m.copy(left, terms);
    for (let at = 0; at < rows * vectors; at++) m.zero(at);
    m.steps(left, UNROLLED, () => turn(UNROLLED));
    m.steps(left, 1, () => turn(1));
    for (let at = 0; at < rows * vectors; at++) m.store(at, { word: to, offset: at * m.lanes * 4 });
    m.add(to, { bytes: rows * width });
    m.add(x, { bytes: along === "terms" ? rows * ROW_PITCH : rows * 4 });
  });
}
