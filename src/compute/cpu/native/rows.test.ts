import { describe, expect, test } from "bun:test";
import { plain } from "../../rows/functions.ts";
import { ROW_KERNELS } from "../../rows/index.ts";
import { reached } from "../../rows/language.ts";
import { cpuRows } from "../families/elementwise.ts";
import { fieldsOf } from "../parameters.ts";
import { routineKernels } from "./kernels/index.ts";
import type { NativeName } from "./choose.ts";
import { CODES, codeOf } from "./testing/codes.ts";
import { GuardedHeap } from "./testing/guarded.ts";

type Kernel = (parameters: number, piece: number) => void;

/** Whole vectors with every code and a rest; rows that lie apart, in two pieces each way. */
const ROWS = 5;
const SHAPES = [{ width: 13, segments: 1, cols: 51 }];
/** Of what is summed, where whole segments are in one piece: several in a row, and more than one block of sums. */
const SUMMED = [...SHAPES, { width: 12, segments: 3, cols: 16 }, { width: 275, segments: 1, cols: 1098 }];
const CASES = [...ROW_KERNELS.values()].flatMap((rows) =>
  (rows.sums ? SUMMED : SHAPES).map((shape) => ({
    name: `${rows.name}, ${shape.segments} of ${shape.cols}`,
    rows,
    shape,
  })),
);

/** Numbers of a usual size, and where nothing is summed bits of all kinds, among them infinite numbers and what is none. */
function fill(words: Uint32Array, at: number, count: number, turn: number, sums: boolean): void {
  const floats = new Float32Array(words.buffer);
  for (let word = 0; word < count; word++) {
    const random = Math.imul(word + turn * 977, 0x9e3779b1) >>> 0;
    if (word % 3 === 0 && !sums) words[at / 4 + word] = Math.imul(random, 0x85ebca6b) >>> 0;
    else floats[at / 4 + word] = (random / 2 ** 31 - 1) * 9;
  }
}

describe.each(CASES)("$name", ({ rows, shape }) => {
  test("every code has the bits of WebAssembly, and touches nothing else", () => {
    const kernel = cpuRows(rows);
    const { width } = shape;
    const PITCH = (width + 2) * 16;
    const BYTES = ROWS * PITCH;
    using heap = new GuardedHeap(2 ** 19);
    const scratch = heap.part(2 ** 12, "begin");
    const parameters = heap.part(256, "begin");
    const words = heap.words();
    const operands = rows.operands.map((operand) => ({ operand, at: heap.part(BYTES, "end") }));
    const pieces = rows.sums ? { pieceWidth: width, pieces: 1 } : { pieceWidth: 9, pieces: 2 };
    const values: Record<string, number> = { rows: ROWS, ...shape, pieceRows: 3, ...pieces };
    for (const { operand, at } of operands) Object.assign(values, { [operand]: at, [`${operand}Pitch`]: PITCH });
    for (const name of rows.parameters) values[name] = 0x40400000; // 3
    fieldsOf(kernel.members).forEach(([name], word) => (words[parameters / 4 + word] = values[name] ?? 0));
    const left = (run: Kernel | undefined) => {
      operands.forEach(({ at }, turn) => fill(words, at, BYTES / 4, turn, rows.sums));
      for (let piece = 0; piece < 2 * pieces.pieces; piece++) run?.(parameters, piece);
      // Processors give what is no number bits of their own.
      return operands.map(({ at }) =>
        heap.floats.slice(at / 4, (at + BYTES) / 4).map((value) => (Number.isNaN(value) ? 4711 : value)),
      );
    };
    const before = left(undefined);
    const by = (code: NativeName | "wasm") =>
      left(routineKernels(() => codeOf(code), heap.memory, scratch, heap.exports)[rows.name]);
    const wanted = by("wasm");
    const written = wanted.map((one, at) => !one.every((value, index) => Object.is(value, before[at]?.[index])));
    expect(written).toEqual(operands.map(({ operand }) => operand in rows.targets));
    const isBetween = (_: number, index: number) => index % (PITCH / 4) >= width * 4;
    expect(wanted.map((one) => one.filter(isBetween))).toEqual(before.map((one) => one.filter(isBetween)));
    for (const code of CODES) expect(by(code)).toEqual(wanted);
  });

  test("machines have an instruction for each of its operations", () => {
    const functions = [...reached(plain(Object.values(rows.targets)))].map(({ op }) => op);
    expect(functions.filter((op) => ["abs", "exp", "tanh", "erf"].includes(op))).toEqual([]);
  });
});
