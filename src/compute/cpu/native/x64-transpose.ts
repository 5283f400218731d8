// Squares of 8 × 8 or 16 × 16 numbers, turned around in registers: those of rows become those of columns.
import type { Lanes } from "./machine.ts";
import type { X64 } from "./x64.ts";
import { type Memory, type Vector, xmm, ymm, zmm } from "./x64-encoding.ts";

const vectorsOf = (lanes: 8 | 16): ((lane: Lanes) => Vector) => (lanes === 8 ? ymm : zmm);

/** Turns each four rows of registers 0 to lanes − 1 around within their 128 bits. */
function withinParts(code: X64, lanes: 8 | 16): void {
  const own = vectorsOf(lanes);
  const other = (lane: Lanes) => own(lanes + lane);
  for (let row = 0; row < lanes; row += 2) {
    code.vunpcklps(other(row), own(row), own(row + 1));
    code.vunpckhps(other(row + 1), own(row), own(row + 1));
  }
  for (let row = 0; row < lanes; row += 4) {
    code.vunpcklpd(own(row), other(row), other(row + 2));
    code.vunpckhpd(own(row + 1), other(row), other(row + 2));
    code.vunpcklpd(own(row + 2), other(row + 1), other(row + 3));
    code.vunpckhpd(own(row + 3), other(row + 1), other(row + 3));
  }
}

/** Registers 0 to lanes − 1: first within 128 bits, then whole parts of 128 bits. @returns where columns are */
export function transpose(code: X64, lanes: 8 | 16): Lanes[] {
  const own = vectorsOf(lanes);
  const other = (lane: Lanes) => own(lanes + lane);
  withinParts(code, lanes);
  const columns: Lanes[] = [];
  for (let col = 0; col < 4; col++) {
    const of = (four: number) => own(col + 4 * four);
    if (lanes === 8) {
      code.vperm2f128(other(col), of(0), of(1), 0x20);
      code.vperm2f128(other(col + 4), of(0), of(1), 0x31);
      columns[col] = lanes + col;
      columns[col + 4] = lanes + col + 4;
      continue;
    }
    const part = (at: number) => other(col + 4 * at);
    code.vshuff32x4(part(0), of(0), of(1), 0x88);
    code.vshuff32x4(part(1), of(0), of(1), 0xdd);
    code.vshuff32x4(part(2), of(2), of(3), 0x88);
    code.vshuff32x4(part(3), of(2), of(3), 0xdd);
    code.vshuff32x4(of(0), part(0), part(2), 0x88);
    code.vshuff32x4(of(2), part(0), part(2), 0xdd);
    code.vshuff32x4(of(1), part(1), part(3), 0x88);
    code.vshuff32x4(of(3), part(1), part(3), 0xdd);
    for (let four = 0; four < 4; four++) columns[col + 4 * four] = col + 4 * four;
  }
  return columns;
}

/**
 * Rows of memory. Half rows that are four apart are loaded side by side, so a quarter or a third of the shuffles is left out: one port
 * of a processor does them.
 * @param rowAt asked once for each row, in their order
 * @returns where columns are
 */
export function loadTransposed(code: X64, lanes: 8 | 16, rowAt: (row: number) => Memory): Lanes[] {
  const own = vectorsOf(lanes);
  const half = lanes === 8 ? xmm : ymm;
  const bytes = lanes * 2;
  // Register r of four rows: the first half of row r and of the one four further; the other halves are in registers behind.
  for (let row = 0; row < lanes; row++) {
    const [at, isSecond] = [rowAt(row), row % 8 > 3];
    const to = Math.floor(row / 8) * 4 + (row % 4);
    for (const part of [0, 1]) {
      const [lane, from] = [to + (part * lanes) / 2, { ...at, offset: at.offset + part * bytes }];
      if (!isSecond) code.vmovups(half(lane), from);
      else if (lanes === 8) code.vinserti128(own(lane), own(lane), from, 1);
      else code.vinserti64x4(own(lane), own(lane), from, 1);
    }
  }
  withinParts(code, lanes);
  if (lanes === 8) return Array.from({ length: lanes }, (_, col) => col);
  const columns: Lanes[] = [];
  for (let col = 0; col < 4; col++) {
    for (const part of [0, 8]) {
      const [upper, lower] = [own(part + col), own(part + 4 + col)];
      code.vshuff32x4(own(lanes + part + col), upper, lower, 0x88);
      code.vshuff32x4(own(lanes + part + 4 + col), upper, lower, 0xdd);
      columns[part + col] = lanes + part + col;
      columns[part + 4 + col] = lanes + part + 4 + col;
    }
  }
  return columns;
}
