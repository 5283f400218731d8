import type { Caller } from "../caller.ts";
import { BLOCK } from "../../../device/blocks.ts";
import { BLOCK_BYTES, type Blocks } from "../machine.ts";
import { FEW_BLOCK_ROWS } from "../routines/few-blocks.ts";
import { BLOCK_TERMS, WHOLE_PITCH } from "../routines/layout.ts";
import { MOST_ROWS, multiplyWhole, setRows, storeSums, type Target } from "./tiles.ts";

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
  const size = rows * (WHOLE_PITCH + 4);
  const step = Math.max(1, Math.min(MOST_STEPS, Math.floor(ROUNDED / size))) * BLOCK_TERMS;
  for (let begin = 0; begin < terms; begin += step) {
    const end = Math.min(begin + step, terms);
    for (let first = begin; first < end; first += BLOCK_TERMS) {
      const to = rounded + ((first - begin) / BLOCK_TERMS) * size;
      const count = Math.min(BLOCK_TERMS, end - first);
      const scales = to + rows * WHOLE_PITCH;
      on.call(routines.round, x + first * 4, xPitch, rows, count, to, scales, room, MAGNITUDE, MOST, LEAST);
    }
    for (let col = firstCol; col < firstCol + cols; col += panelCols) {
      const width = Math.min(panelCols, firstCol + cols - col);
      setRows(on, w.scales + col * w.scalesPitch, w.scalesPitch, width, panelCols);
      on.call(routines.panelFromRows.F16, (begin / BLOCK) * 2, (end - begin) / BLOCK, panelScales, panelScales);
      setRows(on, w.b + col * w.bPitch, w.bPitch, width, panelCols);
      for (let first = begin; first < end; first += BLOCK_TERMS) {
        const blocks = Math.min(BLOCK_TERMS, end - first) / BLOCK;
        const offset = (first / BLOCK) * BLOCK_BYTES[w.stored];
        const from = rounded + ((first - begin) / BLOCK_TERMS) * size;
        const factors = from + rows * WHOLE_PITCH;
        const ds = panelScales + ((first - begin) / BLOCK) * panelCols * 4;
        if (rows <= FEW_BLOCK_ROWS) {
          const few = routines.fewBlocks[w.stored][rows] ?? 0;
          const ahead = w.b + (col + panelCols) * w.bPitch + panelCols * offset;
          on.call(few, offset, blocks, from, factors, ds, sums, ...BYTES, ahead);
        } else {
          on.call(routines.panelOfBlocks[w.stored], offset, blocks, panel, ...BYTES);
          multiplyWhole(on, from, factors, rows, panel, ds, blocks, sums);
        }
        storeSums(on, sums, panelCols * 4, rows, width, target, row, col, first === 0);
      }
    }
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
