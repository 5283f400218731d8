import { BASIS_GRADIENT } from "../../families/basis-gradient.ts";
import type { Caller } from "../caller.ts";
import { STORED, STORED_BYTES } from "../machine.ts";
import { wordsOf } from "../parameters.ts";
import { BLOCK_TERMS } from "../routines/layout.ts";
import { fours, MOST_ROWS, multiplyTiles, storeSums, TERM_PITCH } from "./tiles.ts";

const AT = wordsOf(BASIS_GRADIENT);
/** The bits of 1. */
const ONE = 0x3f800000;

/** Some rows and columns of dŜ = PᵀQ at a time, which the module folds into the partial sums of dλ and dγ. */
export function basisGradient(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const { panelCols } = on.code;
  const blocks = word(AT.blocks);
  const firstRow = Math.floor(piece / blocks) * word(AT.sliceRows);
  const lastRow = Math.min(firstRow + word(AT.sliceRows), word(AT.rows));
  const firstCol = (piece % blocks) * word(AT.blockCols);
  const cols = Math.min(word(AT.blockCols), word(AT.cols) - firstCol);
  const stored = STORED[word(AT.storage)] ?? "F32";
  const [rowBytes, rightPitch, terms] = [word(AT.rowBytes), word(AT.rightPitch), word(AT.terms)];
  const pitch = word(AT.blockCols) * 4;
  const panel = on.scratch;
  const sums = panel + panelCols * BLOCK_TERMS * 4;
  const x = sums + MOST_ROWS * panelCols * 4;
  const slope = x + BLOCK_TERMS * TERM_PITCH;
  const plain = { yPitch: pitch, scale: ONE, bias: 0, residual: 0, residualPitch: 0 };
  for (let row = firstRow; row < lastRow; row += MOST_ROWS) {
    const rows = Math.min(MOST_ROWS, lastRow - row);
    for (let first = 0; first < terms; first += BLOCK_TERMS) {
      const count = Math.min(BLOCK_TERMS, terms - first);
      const from = word(AT.at) + first * rowBytes + row * STORED_BYTES[stored];
      on.call(on.routines.copy[stored], from, rowBytes, count, fours(rows), x, TERM_PITCH);
      for (let col = 0; col < cols; col += panelCols) {
        const width = Math.min(panelCols, cols - col);
        const right = word(AT.right) + first * rightPitch + (firstCol + col) * 4;
        on.call(on.routines.copy.F32, right, rightPitch, count, fours(width), panel, panelCols * 4);
        multiplyTiles(on, "rows", x, rows, panel, count, sums);
        storeSums(on, sums, panelCols * 4, rows, width, { ...plain, adds: first > 0, y: slope + col * 4 });
      }
    }
    on.parts.foldRows(parameters, piece, row, rows, slope);
  }
}
