// Sums of a few rows' weights times rows that are read as they lie. The sums are those of tile.ts, to the last bit.
import { type Machine, STORED_BYTES, type Stored } from "../machine.ts";
import { registers } from "./arguments.ts";
import { ROW_PITCH } from "./layout.ts";

/** Rows of weights at most: sums stay in registers. */
export const WEIGHTED_ROWS = 4;

const WEIGHTED = {
  /** Rows of weights, `ROW_PITCH` apart. */
  weights: "address",
  from: "address",
  pitch: "number",
  terms: "number",
  /** Numbers of a row, in fours. */
  fours: "number",
  to: "address",
  toPitch: "number",
} as const;

export function weighted(m: Machine, rows: number, stored: Stored): void {
  const { weights, from, pitch, terms, fours, to, toPitch, others } = registers(m, WEIGHTED, 4);
  const [here = 0, at = 0, left = 0, target = 0] = others;
  for (const [count, vectors, numbers] of [
    ["all", 2, 2 * m.lanes],
    ["all", 1, m.lanes],
    ["four", 1, 4],
  ] as const) {
    const sum = (row: number, vector: number) => row * vectors + vector;
    const [value, weight] = [(vector: number) => rows * vectors + vector, rows * vectors + vectors];
    m.steps(fours, numbers / 4, () => {
      for (let at = 0; at < rows * vectors; at++) m.zero(at);
      m.copy(here, from);
      m.copy(at, weights);
      m.copy(left, terms);
      m.steps(left, 1, () => {
        for (let vector = 0; vector < vectors; vector++)
          m.read(value(vector), { word: here, offset: vector * m.lanes * STORED_BYTES[stored] }, stored, count);
        for (let row = 0; row < rows; row++) {
          m.broadcast(weight, { word: at, offset: row * ROW_PITCH });
          for (let vector = 0; vector < vectors; vector++) m.fma(sum(row, vector), weight, value(vector));
        }
        m.add(here, pitch);
        m.add(at, { bytes: 4 });
      });
      m.copy(target, to);
      for (let row = 0; row < rows; row++) {
        for (let vector = 0; vector < vectors; vector++)
          m.store(sum(row, vector), { word: target, offset: vector * m.lanes * 4 }, count);
        m.add(target, toPitch);
      }
      m.add(from, { bytes: numbers * STORED_BYTES[stored] });
      m.add(to, { bytes: numbers * 4 });
    });
  }
}
