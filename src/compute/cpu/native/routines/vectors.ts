import type { At, Count, Lanes, Machine, Stored, Word } from "../machine.ts";

/**
 * Goes over so many fours of numbers: whole vectors first, then the rest.
 * @param left a register for it
 */
export function eachVector(m: Machine, fours: Word, left: Word, body: (count: Count, numbers: number) => void): void {
  m.copy(left, fours);
  m.steps(left, m.lanes / 4, () => body("all", m.lanes));
  if (m.lanes > 4) m.steps(left, 1, () => body("four", 4));
}

/** A square of a matrix, turned around: pairs of BF16 as one. @returns the registers of its columns; all others are lost */
export function readSquare(m: Machine, stored: Stored, rowAt: (row: number) => At): Lanes[] {
  if (stored !== "F16") return m.loadTransposed(rowAt);
  for (let row = 0; row < m.lanes; row++) m.read(row, rowAt(row), stored);
  return m.transpose();
}
