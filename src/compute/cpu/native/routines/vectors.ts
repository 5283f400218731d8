import type { Count, Machine, Word } from "../machine.ts";

/**
 * Goes over so many fours of numbers: whole vectors first, then the rest.
 * @param left a register for it
 */
export function eachVector(m: Machine, fours: Word, left: Word, body: (count: Count, numbers: number) => void): void {
  m.copy(left, fours);
  m.steps(left, m.lanes / 4, () => body("all", m.lanes));
  m.steps(left, 1, () => body("four", 4));
}
