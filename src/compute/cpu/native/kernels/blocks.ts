import type { Caller } from "../caller.ts";
import { BLOCK } from "../../../device/blocks.ts";
import { BLOCK_BYTES, type Blocks } from "../machine.ts";
import { FEW_BLOCK_ROWS } from "../routines/few-blocks.ts";
import { BLOCK_TERMS, FEW_COLS, WHOLE_PITCH } from "../routines/layout.ts";
import { MOST_ROWS, multiplyWhole, setRows, storeFew, storeSums, type Target } from "./tiles.ts";

/** A matrix in blocks, and the first of its scales. Addresses are bytes from the heap's begin. */
interface BlockMatrix {
  readonly stored: Blocks;
  readonly b: number;
  readonly bPitch: number;
  readonly scales: number;
  readonly scalesPitch: number;
}

/** 15 and 8 in every byte, and in every lane. */
const BYTES = [0x0f0f0f0f, 0x08080808] as const;
const LANES = [15, 8] as const;
/** As f32: all bits but the sign's, 16383, 1e-30. */
const [MAGNITUDE, MOST, LEAST] = [0x7fffffff, 0x467ffc00, 0x0da24260];
/** Bytes of rounded rows that lie in scratch at once, unless one block of terms is more; and blocks of terms at most. */
const ROUNDED = 2 ** 17;
const MOST_STEPS = 16;

/**
 * x Wᵀ of at most MOST_ROWS rows of x. Of few rows all terms are rounded first, and W's rows are read to their end.
 * @param row of the target's, where the first row's sums go
 */
export function multiplyBlocks(
  on: Caller,
  w: BlockMatrix,
  x: number,
  xPitch: number,
  rows: number,
  firstCol: number,
  cols: number,
  terms: number,
  target: Target,
  row: number,
): void {
  const { routines, code } = on;
  const { panelCols } = code;
  const panel = on.scratch;
  const panelScales = panel + (panelCols * BLOCK_TERMS * 4) / 2;
  const sums = panelScales + (MOST_STEPS * panelCols * BLOCK_TERMS * 4) / BLOCK;
  const room = sums + MOST_ROWS * panelCols * 4;
  const rounded = room + 64;
  const size = rows * WHOLE_PITCH;
  const steps = Math.max(1, Math.min(MOST_STEPS, Math.floor(ROUNDED / (size + rows * 4))));
  const factors = rounded + steps * size;
  const fewBlocks = routines.fewBlocks[w.stored][rows] ?? 0;
  for (let begin = 0; begin < terms; begin += steps * BLOCK_TERMS) {
    const end = Math.min(begin + steps * BLOCK_TERMS, terms);
    const offset = (begin / BLOCK) * BLOCK_BYTES[w.stored];
    roundRows(on, x + begin * 4, xPitch, rows, end - begin, rounded, factors, room);
    for (let col = firstCol; col < firstCol + cols; col += panelCols) {
      const place = (col - firstCol) % FEW_COLS;
      const width = Math.min(panelCols, firstCol + cols - col);
      setRows(on, w.scales + col * w.scalesPitch, w.scalesPitch, width, panelCols);
      on.call(routines.panelFromRows.F16, (begin / BLOCK) * 2, (end - begin) / BLOCK, panelScales, panelScales);
      setRows(on, w.b + col * w.bPitch + offset, w.bPitch, width, panelCols);
      if (rows <= FEW_BLOCK_ROWS) {
        const ahead = w.b + (col + panelCols) * w.bPitch + panelCols * offset;
        const [blocks, to] = [(end - begin) / BLOCK, sums + place * 4];
        on.call(fewBlocks, blocks, rounded, factors, panelScales, to, BYTES[0], BYTES[1], ahead);
        if (place + panelCols < FEW_COLS && col + width < firstCol + cols) continue;
        const parts = Math.ceil((end - begin) / BLOCK_TERMS);
        storeFew(on, sums, parts, rows, place + width, target, row, col - place, begin === 0);
        continue;
      }
      for (let first = begin, step = 0; first < end; first += BLOCK_TERMS, step++) {
        const blocks = Math.min(BLOCK_TERMS, end - first) / BLOCK;
        const ds = panelScales + ((first - begin) / BLOCK) * panelCols * 4;
        const [from, by] = [rounded + step * size, factors + step * rows * 4];
        const behind = ((first - begin) / BLOCK) * BLOCK_BYTES[w.stored];
        on.call(routines.panelOfBlocks[w.stored], behind, blocks, panel, ...BYTES);
        multiplyWhole(on, from, by, rows, panel, ds, blocks, sums);
        storeSums(on, sums, panelCols * 4, rows, width, target, row, col, first === 0);
      }
    }
  }
}

/** Rounds rows: blocks of terms one after the other, each of all rows, and what they are to be multiplied by. */
function roundRows(
  on: Caller,
  x: number,
  pitch: number,
  rows: number,
  terms: number,
  rounded: number,
  factors: number,
  room: number,
): void {
  for (let first = 0, step = 0; first < terms;) {
    const count = Math.min(BLOCK_TERMS, terms - first);
    // Of one row whole blocks of terms are rounded as if they were rows.
    const parts = rows === 1 ? Math.max(1, Math.floor((terms - first) / BLOCK_TERMS)) : 1;
    const [from, next] = [x + first * 4, rows === 1 ? BLOCK_TERMS * 4 : pitch];
    const [to, by] = [rounded + step * rows * WHOLE_PITCH, factors + step * rows * 4];
    on.call(on.routines.round, from, next, rows * parts, count, to, by, room, MAGNITUDE, MOST, LEAST);
    first += parts * count;
    step += parts;
  }
}

/** A panel of a matrix whose rows are the terms: columns are a whole block, or a half. */
export function panelFromBlocks(
  on: Caller,
  w: BlockMatrix,
  col: number,
  first: number,
  terms: number,
  panel: number,
): void {
  const block = Math.floor(col / BLOCK);
  const from = w.b + first * w.bPitch + block * BLOCK_BYTES[w.stored];
  const scales = w.scales + first * w.scalesPitch + block * 2;
  const routine = on.routines.panelFromBlocks[w.stored][col % BLOCK === 0 ? 0 : 1] ?? 0;
  on.call(routine, from, w.bPitch, scales, w.scalesPitch, terms, panel, ...LANES);
}
