// Products with rows of a matrix in WebAssembly, whose registers are too few to turn squares around in them: both operands run along the
// terms, so each lane of a sum has every fourth term. One row or many, the sums are the same to the last bit.
import { type Count, type Lanes, type Machine, STORED_BYTES, type Stored } from "../machine.ts";
import { registers } from "./arguments.ts";
import { BLOCK_TERMS, FEW_PITCH, ROW_PITCH, ROWS_AT } from "./layout.ts";

/** Rows of the matrix side by side. */
const COLS = 4;
/** Vectors of a turn. */
const UNROLLED = 4;

/** The arguments are those of `FEW`. */
const ALONG = {
  terms: "number",
  x: "address",
  to: "address",
  ahead: "f32",
  column: "f32",
  blocks: "number",
  next: "number",
  /** Tiles of different rows, and bytes of x from the rows of some terms to those of the next. */
  count: "number",
  xNext: "number",
  toNext: "number",
} as const;

/** @param rows of x in a tile: one or two; a tile of two may read one behind the last, whose sums are behind the others */
export function along(m: Machine, addLanes: (first: Lanes) => void, rows: number, stored: Stored): void {
  const { terms, x, to, blocks, next, count, xNext, toNext, others } = registers(m, ALONG, 11 + COLS);
  const [offset = 0, from = 0, target = 0, rest = 0, part = 0, now = 0, left = 0, tiles = 0, row = 0, here = 0] =
    others;
  const [sums = 0, ...starts] = others.slice(10);
  const bytes = STORED_BYTES[stored];
  const sum = (row: number, col: number) => row * COLS + col;
  const w = rows * COLS;
  const turn = (vectors: number, size: Count): void => {
    for (let at = 0; at < vectors; at++) {
      for (let row = 0; row < rows; row++) m.load(w + 1 + row, { word: here, offset: row * ROW_PITCH + at * 16 }, size);
      starts.forEach((word, col) => {
        m.read(w, { word, offset: at * 4 * bytes }, stored, size);
        for (let row = 0; row < rows; row++) m.fma(sum(row, col), w + 1 + row, w);
      });
    }
    const done = size === "one" ? 1 : vectors * 4;
    m.add(here, { bytes: done * 4 });
    for (const start of starts) m.add(start, { bytes: done * bytes });
  };
  m.zeroWord(offset);
  m.steps(blocks, 1, () => {
    m.copy(rest, terms);
    m.copy(from, x);
    m.copy(target, to);
    m.copy(part, offset);
    m.steps(rest, 1, () => {
      m.add(rest, { bytes: 1 });
      m.take(now, rest, BLOCK_TERMS);
      m.copy(tiles, count);
      m.copy(row, from);
      m.copy(sums, target);
      m.steps(tiles, 1, () => {
        m.copy(left, now);
        m.copy(here, row);
        starts.forEach((start, col) => {
          m.argument(start, ROWS_AT + col);
          m.add(start, part);
        });
        for (let at = 0; at < rows * COLS; at++) m.zero(at);
        m.steps(left, UNROLLED * 4, () => turn(UNROLLED, "all"));
        m.steps(left, 4, () => turn(1, "all"));
        m.steps(left, 1, () => turn(1, "one"));
        for (let of = 0; of < rows; of++) {
          addLanes(of * COLS);
          m.store(of * COLS, { word: sums, offset: of * FEW_PITCH });
        }
        m.add(row, { bytes: rows * ROW_PITCH });
        m.add(sums, { bytes: rows * FEW_PITCH });
      });
      m.add(from, xNext);
      m.add(target, toNext);
      m.add(part, { bytes: BLOCK_TERMS * bytes });
    });
    m.add(to, { bytes: COLS * 4 });
    m.add(offset, next);
  });
}
