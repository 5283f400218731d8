import { describe, expect, test } from "bun:test";
import { plain } from "../../rows/functions.ts";
import { ROW_KERNELS } from "../../rows/index.ts";
import { reached } from "../../rows/language.ts";
import { cpuRows } from "../families/elementwise.ts";
import { fieldsOf } from "../parameters.ts";
import { nativeKernels, plainKernels } from "./kernels/index.ts";
import { FMA_KERNELS } from "./kernels/names.ts";
import { CODES, mappedCode } from "./testing/codes.ts";
import { GuardedHeap } from "./testing/guarded.ts";

type Kernel = (parameters: number, piece: number) => void;

const KERNELS = [...ROW_KERNELS.values()];
/** Whole vectors with every code and a rest; rows that lie apart, in two pieces each way. */
const [ROWS, WIDTH, PITCH] = [5, 13, 15 * 16];
const BYTES = ROWS * PITCH;

/** Bits of all kinds, among them infinite numbers and what is none; most are numbers of a usual size. */
function fill(words: Uint32Array, at: number, turn: number): void {
  const floats = new Float32Array(words.buffer);
  for (let word = 0; word < BYTES / 4; word++) {
    const random = Math.imul(word + turn * 977, 0x9e3779b1) >>> 0;
    if (word % 3 === 0) words[at / 4 + word] = Math.imul(random, 0x85ebca6b) >>> 0;
    else floats[at / 4 + word] = (random / 2 ** 31 - 1) * 9;
  }
}

describe.each(KERNELS)("$name", (rows) => {
  test("every code has the bits of WebAssembly, and touches nothing else", () => {
    const kernel = cpuRows(rows);
    using heap = new GuardedHeap(2 ** 18);
    const scratch = heap.part(2 ** 12, "begin");
    const parameters = heap.part(256, "begin");
    const words = heap.words();
    const operands = rows.operands.map((operand) => ({ operand, at: heap.part(BYTES, "end") }));
    const values: Record<string, number> = { rows: ROWS, width: WIDTH, pieceRows: 3, pieceWidth: 9, pieces: 2 };
    for (const { operand, at } of operands)
      Object.assign(values, { [operand]: at, [`${operand}Pitch`]: rows.shared.includes(operand) ? 0 : PITCH });
    for (const name of rows.parameters) values[name] = 0x40400000; // 3
    fieldsOf(kernel.members).forEach(([name], word) => (words[parameters / 4 + word] = values[name] ?? 0));
    const left = (run: Kernel | undefined) => {
      operands.forEach(({ at }, turn) => fill(words, at, turn));
      for (let piece = 0; piece < 4; piece++) run?.(parameters, piece);
      // Processors give what is no number bits of their own.
      return operands.map(({ at }) =>
        heap.floats.slice(at / 4, (at + BYTES) / 4).map((value) => (Number.isNaN(value) ? 4711 : value)),
      );
    };
    const before = left(undefined);
    const wanted = left(plainKernels(heap.memory, scratch, heap.exports)[rows.name] as Kernel);
    const written = wanted.map((one, at) => !one.every((value, index) => Object.is(value, before[at]?.[index])));
    expect(written).toEqual(operands.map(({ operand }) => operand in rows.targets));
    const isBetween = (_: number, index: number) => index % (PITCH / 4) >= WIDTH * 4;
    expect(wanted.map((one) => one.filter(isBetween))).toEqual(before.map((one) => one.filter(isBetween)));
    for (const code of CODES) {
      const native = nativeKernels(() => mappedCode(code), heap.memory, scratch, heap.exports);
      expect(left(native[FMA_KERNELS.indexOf(rows.name)])).toEqual(wanted);
    }
  });

  test("machines have an instruction for each of its operations", () => {
    const functions = [...reached(plain(Object.values(rows.targets)))].map(({ op }) => op);
    expect(functions.filter((op) => ["abs", "exp", "tanh", "erf"].includes(op))).toEqual([]);
  });
});
