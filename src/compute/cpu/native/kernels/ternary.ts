import { TERNARY } from "../../families/ternary.ts";
import type { Caller } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { LISTED_TERMS } from "../routines/layout.ts";
import { deltaTargetOf, scaledTermsOf, storeDelta, writeScaledPanel } from "./scaled-bases.ts";
import { setRows } from "./tiles.ts";

const AT = wordsOf(TERNARY);

/** Bytes of lists that lie in scratch at once: they serve all columns of a piece. */
const LISTS = 2 ** 19;

/** y (+)= scale · T X, by lists of what T's rows add and subtract; X's columns are panels. */
export function ternary(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const { panelCols } = on.code;
  const [scaled, target] = [scaledTermsOf(AT, word), deltaTargetOf(AT, word)];
  const [pieces, pieceRows, pieceCols] = [word(AT.pieces), word(AT.pieceRows), word(AT.pieceCols)];
  const [codes, codesPitch, x, xPitch] = [word(AT.codes), word(AT.codesPitch), word(AT.x), word(AT.xPitch)];
  const firstRow = Math.floor(piece / pieces) * pieceRows;
  const lastRow = Math.min(firstRow + pieceRows, word(AT.rows));
  const firstCol = (piece % pieces) * pieceCols;
  const lastCol = Math.min(firstCol + pieceCols, word(AT.cols));
  const bytes = panelCols * 4;
  const panel = on.scratch;
  const turned = panel + (LISTED_TERMS + 1) * bytes;
  const sums = turned + panelCols * bytes;
  const lists = sums + pieceRows * bytes;
  for (let first = 0; first < word(AT.terms); first += word(AT.listTerms)) {
    const terms = Math.min(word(AT.listTerms), word(AT.terms) - first);
    for (let row = firstRow; row < lastRow;) {
      const from = codes + row * codesPitch + first / 4;
      const listed = on.parts.listRows(from, codesPitch, lastRow - row, terms, bytes, lists, lists + LISTS);
      // Whole vectors of 4 along the target: what pads one must not be another piece's.
      const rows = row + listed === lastRow ? listed : listed & ~3;
      for (let col = firstCol; col < lastCol; col += panelCols) {
        const cols = Math.min(panelCols, lastCol - col);
        if (x === 0) writeScaledPanel(on, scaled, first, terms, col, cols, panel);
        else {
          setRows(on, x + col * xPitch, xPitch, cols, panelCols);
          on.call(on.routines.panelFromRows.F32, first * 4, terms, panel, panel);
        }
        if (target.transposed) sumLists(on, lists, rows, panel, terms, sums, panel, 0);
        else sumLists(on, lists, rows, panel, terms, sums, target.y + row * target.yPitch + col * 4, target.yPitch);
        storeDelta(on, target, row, rows, col, cols, first === 0, sums, turned);
      }
      row += rows;
    }
  }
}

/**
 * The sums of lists over a panel, behind whose terms there is room for another one.
 * @param ahead where they will be added to, `aheadPitch` from row to row
 */
export function sumLists(
  on: Caller,
  lists: number,
  rows: number,
  panel: number,
  terms: number,
  sums: number,
  ahead: number,
  aheadPitch: number,
): void {
  const { panelCols } = on.code;
  const none = panel / 4 + terms * panelCols;
  on.words(0).fill(0, none, none + panelCols);
  on.call(on.routines.sumLists, lists, rows, panel, sums, ahead, aheadPitch);
}
