// Row kernels on a heap: machine code and WebAssembly have the same bits.
import { ROW_KERNELS } from "../../../rows/index.ts";
import type { RowKernel } from "../../../rows/language.ts";
import type { Caller } from "../caller.ts";
import { BLOCK, FIXED } from "../routines/rows.ts";

/** Words that a kernel's parameters begin with: a matrix's address and pitch follow, then numbers. */
const [ROWS, WIDTH, PIECE_ROWS, PIECE_WIDTH, PIECES, SEGMENTS, COLS, OPERANDS] = [0, 1, 2, 3, 4, 5, 6, 7];

/** Makes what the routine takes for one piece from a command's parameters. */
function listWriter(kernel: RowKernel): (words: Uint32Array, parameters: number, piece: number, list: number) => void {
  const { sums } = kernel;
  const isShared = kernel.operands.map((operand) => kernel.shared.includes(operand));
  const matrices = kernel.operands.length;
  const numbers = kernel.parameters.length;
  return (words, parameters, piece, list) => {
    const word = (at: number): number => words[parameters / 4 + at] ?? 0;
    const pieces = word(PIECES);
    const firstRow = Math.floor(piece / pieces) * word(PIECE_ROWS);
    const first = (piece % pieces) * word(PIECE_WIDTH);
    const fours = Math.min(word(PIECE_WIDTH), word(WIDTH) - first);
    const to = list / 4;
    const rows = Math.min(word(PIECE_ROWS), word(ROWS) - firstRow);
    let isWhole = !sums;
    for (let at = 0; at < matrices; at++) {
      const pitch = isShared[at] === true ? 0 : word(OPERANDS + 2 * at + 1);
      words[to + FIXED.operands + 2 * at] = word(OPERANDS + 2 * at) + firstRow * pitch + first * 16;
      words[to + FIXED.operands + 2 * at + 1] = pitch - fours * 16;
      isWhole &&= pitch === fours * 16;
    }
    // Rows without gaps are one: narrow ones are no whole vectors.
    writeShape(
      words,
      to,
      isWhole ? 1 : rows,
      word(SEGMENTS),
      isWhole ? fours * rows : fours,
      sums ? word(COLS) : undefined,
    );
    const [from, behind] = [OPERANDS + 2 * matrices, to + FIXED.operands + 2 * matrices];
    for (let at = 0; at < numbers; at++) words[behind + at] = word(from + at);
  };
}

/**
 * @param fours vectors of 4 in a row
 * @param cols of a segment, where they are summed
 */
function writeShape(
  words: Uint32Array,
  to: number,
  rows: number,
  segments: number,
  fours: number,
  cols: number | undefined,
): void {
  const each = fours / segments;
  words[to + FIXED.rows] = rows;
  words[to + FIXED.segments] = segments;
  words[to + FIXED.fours] = each;
  words[to + FIXED.bytes] = each * 16;
  if (cols === undefined) return;
  const [whole, rest] = [cols >>> 2, cols & 3];
  words[to + FIXED.blocks] = Math.ceil(each / BLOCK);
  words[to + FIXED.whole] = whole;
  words[to + FIXED.wholeBlocks] = Math.ceil(whole / BLOCK);
  words[to + FIXED.rest] = rest === 0 ? 0 : 1;
  words[to + FIXED.maskAt] = (to + FIXED.mask) * 4;
  for (let lane = 0; lane < 4; lane++) words[to + FIXED.mask + lane] = lane < rest ? 0xffffffff : 0;
}

/** Bytes of parameters at most. */
const MOST = 4 * 32;

type Kernel = (on: Caller, parameters: number, piece: number) => void;

/** By name. */
export const rowKernels: Readonly<Record<string, Kernel>> = Object.fromEntries(
  [...ROW_KERNELS].map(([name, kernel], at): [string, Kernel] => {
    let write: ReturnType<typeof listWriter> | undefined;
    return [
      name,
      (on, parameters, piece) => {
        (write ??= listWriter(kernel))(on.words(parameters + MOST), parameters, piece, on.begin);
        on.call(on.routines.rows[at] ?? 0);
      },
    ];
  }),
);

const NUMBERS = new Map([...ROW_KERNELS.keys()].map((name, at) => [name, at]));

/** Calls a kernel of machine code without parameters on rows of matrices, each an address and bytes from row to row. */
export function callRows(
  on: Caller,
  name: string,
  rows: number,
  fours: number,
  matrices: readonly (readonly [address: number, pitch: number])[],
): void {
  const words = on.words(0);
  const list = on.begin / 4;
  writeShape(words, list, rows, 1, fours, undefined);
  matrices.forEach(([address, pitch], at) => {
    words[list + FIXED.operands + 2 * at] = address;
    words[list + FIXED.operands + 2 * at + 1] = pitch - fours * 16;
  });
  on.call(on.routines.rows[NUMBERS.get(name) ?? -1] ?? 0);
}
