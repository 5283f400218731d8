import { BASIS_GRADIENT } from "../../families/basis-gradient.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { NUMBER_DTYPES } from "../../../device/dtype.ts";
import { STORED_BYTES } from "../machine.ts";
import { wordsOf } from "../../parameters.ts";
import { BLOCK_TERMS } from "../routines/layout.ts";
import { sumLists } from "./ternary.ts";
import { fours, MOST_ROWS, multiplyTiles, PLAIN, storeSums, TERM_PITCH } from "./tiles.ts";

const AT = wordsOf(BASIS_GRADIENT);
/** Room for the lists of all rows, whatever they add. */
const LISTS = MOST_ROWS * (BLOCK_TERMS + 1) * 8;

/** Some rows and columns of dŜ = PᵀQ at a time, which the module folds into the partial sums of dλ and dγ. */
export function basisGradient(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const { panelCols } = on.code;
  const blocks = word(AT.blocks);
  const firstRow = Math.floor(piece / blocks) * word(AT.sliceRows);
  const lastRow = Math.min(firstRow + word(AT.sliceRows), word(AT.rows));
  const firstCol = (piece % blocks) * word(AT.blockCols);
  const cols = Math.min(word(AT.blockCols), word(AT.cols) - firstCol);
  const [rightPitch, terms] = [word(AT.rightPitch), word(AT.terms)];
  const pitch = word(AT.blockCols) * 4;
  const panel = on.scratch;
  const sums = panel + panelCols * (BLOCK_TERMS + 1) * 4;
  const slope = sums + MOST_ROWS * panelCols * 4;
  const left = slope + MOST_ROWS * pitch;
  const target = { ...PLAIN, y: slope, yPitch: pitch };
  for (let row = firstRow; row < lastRow; row += MOST_ROWS) {
    const rows = Math.min(MOST_ROWS, lastRow - row);
    for (let first = 0; first < terms; first += BLOCK_TERMS) {
      const count = Math.min(BLOCK_TERMS, terms - first);
      const sum = leftOf(on, word, row, rows, first, count, left);
      for (let col = 0; col < cols; col += panelCols) {
        const width = Math.min(panelCols, cols - col);
        const right = word(AT.right) + first * rightPitch + (firstCol + col) * 4;
        on.call(on.routines.copy.F32, right, rightPitch, count, fours(width), panel, panelCols * 4);
        sum(panel, sums);
        storeSums(on, sums, panelCols * 4, rows, width, target, 0, col, first === 0);
      }
    }
    on.parts.foldRows(parameters, piece, row, rows, slope);
  }
}

/** Brings some rows of Pᵀ to scratch, as numbers or as lists of what is added and subtracted; returns what sums them with a panel. */
function leftOf(
  on: Caller,
  word: ParameterWords,
  row: number,
  rows: number,
  first: number,
  terms: number,
  to: number,
): (panel: number, sums: number) => void {
  const stored = NUMBER_DTYPES[word(AT.storage)];
  const [at, rowBytes] = [word(AT.left), word(AT.leftPitch)];
  if (stored === undefined) {
    on.parts.listRows(at + row * rowBytes + first / 4, rowBytes, rows, terms, on.code.panelCols * 4, to, to + LISTS);
    return (panel, sums) => sumLists(on, to, rows, panel, terms, sums, panel, 0);
  }
  const from = at + first * rowBytes + row * STORED_BYTES[stored];
  on.call(on.routines.copy[stored], from, rowBytes, terms, fours(rows), to, TERM_PITCH);
  return (panel, sums) => multiplyTiles(on, "rows", to, rows, panel, terms, sums);
}
