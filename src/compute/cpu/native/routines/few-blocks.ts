// Products of one row or two with rows of a matrix in blocks. These are multiplied as they lie, pair by pair, and only a block's sums are
// brought to their lanes: whole numbers, so the sums are those of blocks.ts, to the last bit.
import { BLOCK } from "../../../device/blocks.ts";
import { BLOCK_BYTES, type Blocks, type Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { BLOCK_TERMS, FEW_PITCH, LINE, panelCols, ROWS_AT, WHOLE_PITCH } from "./layout.ts";

/** Rows of x at most. */
export const FEW_BLOCK_ROWS = 2;

const FEW_BLOCKS = {
  blocks: "number",
  /** Rounded rows, `WHOLE_PITCH` apart, and what each is to be multiplied by; those of the next terms follow. */
  x: "address",
  scales: "address",
  panelScales: "address",
  /** As of `FEW`. */
  to: "address",
  nibbles: "f32",
  eights: "f32",
  /** As of `FEW`. */
  ahead: "address",
} as const;

export function fewBlocks(m: Machine, rows: number, stored: Blocks): void {
  const { blocks, x, scales, panelScales, to, ahead, others } = registers(m, FEW_BLOCKS, 3);
  const [here = 0, row = 0, now = 0] = others;
  const { lanes } = m;
  const { vectors } = m.tile;
  const temporary = lanes;
  const constants = [lanes + 1, lanes + 2, lanes + 3] as const;
  const sum = (of: number, vector: number) => lanes + 4 + of * vectors + vector;
  m.broadcastArgument(constants[0], indexOf(FEW_BLOCKS, "nibbles"));
  m.broadcastArgument(constants[1], indexOf(FEW_BLOCKS, "eights"));
  m.heap(here);
  const bytes = panelCols(m) * BLOCK_BYTES[stored];
  m.steps(blocks, 1, () => {
    m.add(blocks, { bytes: 1 });
    m.take(now, blocks, BLOCK_TERMS / BLOCK);
    for (let of = 0; of < rows; of++) for (let vector = 0; vector < vectors; vector++) m.zero(sum(of, vector));
    m.steps(now, 1, () => {
      for (let vector = 0; vector < vectors; vector++) {
        for (let of = 0; of < rows; of++) {
          for (let at = 0; at < lanes; at++) {
            const from = { word: here, index: row };
            m.argument(row, ROWS_AT + vector * lanes + at);
            const line = (vector * lanes + at) * LINE;
            if (of === 0 && line < bytes) m.prefetch({ word: ahead, offset: line });
            for (let part = 0; part < BLOCK / 2 / lanes; part++) {
              const product = part === 0 ? at : temporary;
              m.readPairs(product, from, stored, part, constants);
              m.multiplyPairs(product, product, { word: x, offset: of * WHOLE_PITCH + part * lanes * 4 });
              if (part > 0) m.addWhole(at, at, temporary);
            }
          }
          m.sumLanes(temporary);
          m.fromWhole(0, 0);
          m.load(temporary, { word: panelScales, offset: vector * lanes * 4 });
          m.fma(sum(of, vector), 0, temporary);
        }
      }
      m.add(here, { bytes: BLOCK_BYTES[stored] });
      m.add(ahead, { bytes });
      m.add(x, { bytes: BLOCK * 2 });
      m.add(panelScales, { bytes: panelCols(m) * 4 });
    });
    for (let of = 0; of < rows; of++) {
      m.broadcast(temporary, { word: scales, offset: of * 4 });
      for (let vector = 0; vector < vectors; vector++) {
        m.multiply(0, temporary, sum(of, vector));
        m.store(0, { word: to, offset: of * FEW_PITCH + vector * lanes * 4 });
      }
    }
    m.add(x, { bytes: rows * WHOLE_PITCH - BLOCK_TERMS * 2 });
    m.add(scales, { bytes: rows * 4 });
    m.add(to, { bytes: rows * FEW_PITCH });
  });
}
