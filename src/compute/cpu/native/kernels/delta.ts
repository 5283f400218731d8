import { DELTA } from "../../families/delta.ts";
import type { Caller } from "../caller.ts";
import { STORED, STORED_BYTES } from "../machine.ts";
import { wordsOf } from "../parameters.ts";
import { BLOCK_TERMS, ROW_PITCH } from "../routines/layout.ts";
import { fours, MOST_ROWS, multiplyTiles, setRows, storeSums } from "./tiles.ts";

const AT = wordsOf(DELTA);
type Word = (index: number) => number;

/** ΔW = scale · B̂ Ŝ: rows of B̂ lie in scratch for all of a piece's columns, and Ŝ is formed a panel at a time. */
export function delta(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const { panelCols } = on.code;
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
      writePanel(on, word, first, count, col, cols, panel);
      multiplyTiles(on, "terms", x, rows, panel, count, sums);
      store(on, word, firstRow, rows, col, cols, first === 0, sums, turned);
    }
  }
}

/** Rows of B̂ in f32, `ROW_PITCH` apart. */
function writeRows(
  on: Caller,
  word: Word,
  parameters: number,
  row: number,
  rows: number,
  first: number,
  terms: number,
  x: number,
): void {
  const stored = STORED[word(AT.storage)];
  if (stored === undefined) {
    on.parts.basisRows(parameters + AT.storage * 4, row, rows, first, terms, x, ROW_PITCH);
    return;
  }
  const from = word(AT.at) + row * word(AT.rowBytes) + first * STORED_BYTES[stored];
  on.call(on.routines.copy[stored], from, word(AT.rowBytes), rows, fours(terms), x, ROW_PITCH);
}

/** Ŝ[q] = λ[q] · (slow[q / fastCount] ∘ fast[q % fastCount]); one row of the slow factor serves many terms. */
function writePanel(
  on: Caller,
  word: Word,
  first: number,
  terms: number,
  col: number,
  cols: number,
  panel: number,
): void {
  const fastCount = word(AT.fastCount);
  for (let done = 0; done < terms;) {
    const fast = (first + done) % fastCount;
    const slow = (first + done - fast) / fastCount;
    const count = Math.min(fastCount - fast, terms - done);
    on.call(
      on.routines.scaled,
      word(AT.lambda) + (first + done) * 4,
      word(AT.slow) + slow * word(AT.slowPitch) + col * 4,
      word(AT.fast) + fast * word(AT.fastPitch) + col * 4,
      word(AT.fastPitch),
      count,
      fours(cols),
      panel + done * on.code.panelCols * 4,
    );
    done += count;
  }
}

/** Takes a panel's sums over into the target; where B̂'s rows run along its columns they are turned around first, some at a time. */
function store(
  on: Caller,
  word: Word,
  row: number,
  rows: number,
  col: number,
  cols: number,
  isFirst: boolean,
  sums: number,
  turned: number,
): void {
  const [pitch, bytes] = [word(AT.pitch), on.code.panelCols * 4];
  const plain = { yPitch: pitch, scale: word(AT.scale), bias: 0, residual: 0, residualPitch: 0 };
  const adds = !isFirst || word(AT.accumulate) !== 0;
  if (word(AT.transposed) === 0) {
    storeSums(on, sums, bytes, rows, cols, { ...plain, adds, y: word(AT.target) + row * pitch + col * 4 });
    return;
  }
  for (let at = 0; at < rows; at += on.code.panelCols) {
    const count = Math.min(on.code.panelCols, rows - at);
    setRows(on, sums + at * bytes, bytes, count, on.code.panelCols);
    on.call(on.routines.panelFromRows.F32, 0, cols, turned);
    storeSums(on, turned, bytes, cols, count, { ...plain, adds, y: word(AT.target) + col * pitch + (row + at) * 4 });
  }
}
