import { DELTA } from "../../families/delta.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { NUMBER_DTYPES } from "../../../device/dtype.ts";
import { STORED_BYTES } from "../machine.ts";
import { wordsOf } from "../../parameters.ts";
import { BLOCK_TERMS, ROW_PITCH } from "../routines/layout.ts";
import { deltaTargetOf, scaledTermsOf, storeDelta, writeScaledPanel } from "./scaled-bases.ts";
import { fours, MOST_ROWS, multiplyTiles } from "./tiles.ts";

const AT = wordsOf(DELTA);

/** ΔW = scale · B̂ Ŝ: rows of B̂ lie in scratch for all of a piece's columns, and Ŝ is formed a panel at a time. */
export function delta(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const { panelCols } = on.code;
  const [scaled, target] = [scaledTermsOf(AT, word), deltaTargetOf(AT, word)];
  const [pieces, pieceRows, pieceCols] = [word(AT.pieces), word(AT.pieceRows), word(AT.pieceCols)];
  const firstRow = Math.floor(piece / pieces) * pieceRows;
  const rows = Math.min(pieceRows, word(AT.rows) - firstRow);
  const firstCol = (piece % pieces) * pieceCols;
  const lastCol = Math.min(firstCol + pieceCols, word(AT.cols));
  const panel = on.scratch;
  const sums = panel + panelCols * BLOCK_TERMS * 4;
  const turned = sums + MOST_ROWS * panelCols * 4;
  const x = turned + panelCols * panelCols * 4;
  const terms = word(AT.terms);
  for (let first = 0; first < terms; first += BLOCK_TERMS) {
    const count = Math.min(BLOCK_TERMS, terms - first);
    writeRows(on, word, parameters, word(AT.firstRow) + firstRow, rows, first, count, x);
    for (let col = firstCol; col < lastCol; col += panelCols) {
      const cols = Math.min(panelCols, lastCol - col);
      writeScaledPanel(on, scaled, first, count, col, cols, panel);
      multiplyTiles(on, "terms", x, rows, panel, count, sums);
      storeDelta(on, target, firstRow, rows, col, cols, first === 0, sums, turned);
    }
  }
}

/** Rows of B̂ in f32, `ROW_PITCH` apart. */
function writeRows(
  on: Caller,
  word: ParameterWords,
  parameters: number,
  row: number,
  rows: number,
  first: number,
  terms: number,
  x: number,
): void {
  const stored = NUMBER_DTYPES[word(AT.storage)];
  if (stored === undefined) {
    on.parts.basisRows(parameters + AT.storage * 4, row, rows, first, terms, x, ROW_PITCH);
    return;
  }
  const from = word(AT.at) + row * word(AT.rowBytes) + first * STORED_BYTES[stored];
  on.call(on.routines.copy[stored], from, word(AT.rowBytes), rows, fours(terms), x, ROW_PITCH);
}
