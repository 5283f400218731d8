// Trials of routines on shapes that nobody chose: beside f64, with every operand at the edge of a page that
// cannot be read, and those of machine code byte by byte beside each other.
import { expect } from "bun:test";
import fc from "fast-check";
import { type CpuKernel, fieldsOf, type Members } from "../../parameters.ts";
import { BASIS } from "../../families/basis.ts";
import { CODES, codeOf } from "./codes.ts";
import { routineKernels } from "../kernels/index.ts";
import { BLOCK, fromBlocks, quantBytes, scaleBytes } from "../../../device/blocks.ts";
import type { BlockDtype } from "../../../device/dtype.ts";
import { STORED_BYTES, type Stored } from "../machine.ts";
import { BLOCK_TERMS } from "../routines/layout.ts";
import { type Edge, GuardedHeap } from "./guarded.ts";
import { decoded, encoded, noise } from "./numbers.ts";
import { type Matrix, matrixOf } from "../../../tensor/op.ts";

const SCRATCH = 2 ** 20;

type Values = Readonly<Record<string, number>>;
type Kernel = (parameters: number, piece: number) => void;

/** A computation on operands that it places itself, among them the results. */
export interface Trial {
  readonly kernel: CpuKernel<Members>;
  readonly values: Values;
  /** The results in f64, as `laid` lays them. */
  readonly expected: () => readonly Float64Array[];
  readonly pieces: number;
  /** Cut in another way, it has the same bits. */
  readonly again?: { readonly values: Values; readonly pieces: number };
  readonly results: readonly { readonly at: number; readonly bytes: number }[];
  /** Of the largest result, or of 1. */
  readonly tolerance: number;
}

/** A matrix in the heap. */
export interface Placed {
  readonly at: number;
  readonly pitch: number;
  readonly bytes: number;
}

/** Numbers as a result has them: zeros pad each row. */
export function laid({ shape: [, cols], data }: Matrix, { pitch, bytes }: Placed): Float64Array {
  const width = pitch / 4;
  return Float64Array.from({ length: bytes / 4 }, (_, at) =>
    at % width < cols ? (data[Math.floor(at / width) * cols + (at % width)] ?? NaN) : 0,
  );
}

/** Places operands at an edge, each of its own numbers. */
export class Operands {
  readonly heap: GuardedHeap;
  readonly edge: Edge;
  #turn = 0.5;

  constructor(heap: GuardedHeap, edge: Edge) {
    this.heap = heap;
    this.edge = edge;
  }

  /** Rows of whole 16 bytes; what pads them is no number unless it is said to be one. */
  matrix(rows: number, cols: number, format: Stored = "F32", padding = NaN): Placed {
    const each = STORED_BYTES[format];
    const width = Math.ceil((cols * each) / 16) * (16 / each);
    const bytes = rows * width * each;
    const at = this.heap.part(bytes, this.edge);
    const turn = (this.#turn += 1.3);
    this.heap.bytes.set(
      encoded(format, rows * width, (index) => (index % width < cols ? noise(index, turn) : padding)),
      at,
    );
    return { at, pitch: width * each, bytes };
  }

  /** Whole numbers, one after the other. */
  list(count: number, value: (index: number) => number): number {
    const at = this.heap.part(count * 4, this.edge);
    for (let index = 0; index < count; index++) this.heap.words()[at / 4 + index] = value(index);
    return at;
  }

  /** What a matrix has, in f64. */
  numbers({ at, pitch, bytes }: Placed, rows: number, cols: number, format: Stored = "F32"): Matrix {
    const all = decoded(format, this.heap.bytes.slice(at, at + bytes));
    const width = pitch / STORED_BYTES[format];
    return matrixOf(rows, cols, (row, col) => all[row * width + col] ?? NaN);
  }

  /** Two-bit codes in rows of whole words. */
  codes(rows: number, cols: number): { readonly at: number; readonly pitch: number } {
    const pitch = Math.ceil(cols / 16) * 4;
    const at = this.heap.part(rows * pitch, this.edge);
    for (let word = 0; word < (rows * pitch) / 4; word++) {
      const codes = Math.floor((noise(word, 7) + 1) * 2 ** 31) >>> 0;
      this.heap.words()[at / 4 + word] = codes & ~((codes >>> 1) & 0x55555555);
    }
    return { at, pitch };
  }

  /** Elements of a basis, as the module forms them. @param words those of `BASIS` */
  basis(words: Values, rows: number, cols: number): Matrix {
    const parameters = this.heap.part(64, "begin");
    fieldsOf(BASIS).forEach(([name], word) => (this.heap.words()[parameters / 4 + word] = words[name] ?? 0));
    const [run, draws] = [BLOCK_TERMS, 1024];
    const to = this.heap.part(run * 4 + draws, "begin");
    const numbers = matrixOf(rows, cols, () => NaN);
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col += run) {
        const count = Math.min(run, cols - col);
        this.heap.parts.basisRows(parameters, row, 1, col, count, to, run * 4);
        numbers.data.set(this.heap.floats.subarray(to / 4, to / 4 + count), row * cols + col);
      }
    }
    return numbers;
  }

  blocks(rows: number, cols: number, format: BlockDtype) {
    const pitch = (cols / BLOCK) * quantBytes(format);
    const at = this.heap.part(rows * pitch, this.edge);
    for (let byte = 0; byte < rows * pitch; byte++) this.heap.bytes[at + byte] = byte * 167;
    const scalesPitch = (cols / BLOCK) * scaleBytes(format);
    const scales = this.heap.part(rows * scalesPitch, this.edge);
    if (format === "Q6_K") this.heap.floats.fill(2 ** -8, scales / 4, (scales + rows * scalesPitch) / 4);
    else if (format === "MXFP4") this.heap.halves.fill(0x3b80, scales / 2, (scales + rows * scalesPitch) / 2);
    else
      for (let half = 0; half < (rows * scalesPitch) / 2; half++) this.heap.halves[scales / 2 + half] = 0x1c00 + half;
    const quants = this.heap.bytes.slice(at, at + rows * pitch);
    const halves = new Uint16Array(this.heap.bytes.slice(scales, scales + rows * scalesPitch).buffer);
    const data = Float64Array.from(fromBlocks({ quants, scales: halves }, format));
    return { at, pitch, scales, scalesPitch, numbers: { shape: [rows, cols], data } as Matrix };
  }
}

/** The bytes of a trial's results, by a kernel, from what they were before. */
function run(
  heap: GuardedHeap,
  { kernel, values, pieces, results }: Trial,
  parameters: number,
  compute: Kernel,
): Float32Array[] {
  const before = results.map(({ at, bytes }) => heap.bytes.slice(at, at + bytes));
  fieldsOf(kernel.members).forEach(([name], word) => (heap.words()[parameters / 4 + word] = values[name] ?? 0));
  for (let piece = 0; piece < pieces; piece++) compute(parameters, piece);
  return results.map(({ at, bytes }, index) => {
    const found = new Float32Array(heap.bytes.slice(at, at + bytes).buffer);
    heap.bytes.set(before[index] ?? [], at);
    return found;
  });
}

/** Tries shapes at both edges, by each code that this processor has. */
export function fuzz<T>(shapes: fc.Arbitrary<T>, place: (operands: Operands, shape: T) => Trial, numRuns = 60): void {
  const edges = fc.constantFrom<Edge>("begin", "end");
  const property = fc.property(shapes, edges, (shape, edge) => {
    using heap = new GuardedHeap(2 ** 23);
    const trial = place(new Operands(heap, edge), shape);
    const { kernel, tolerance, again } = trial;
    const scratch = heap.part(SCRATCH, "begin");
    const parameters = heap.part(256, "begin");
    const { exports } = heap;
    const wanted = trial.expected();
    const [wasm = [], ...machine] = (["wasm", ...CODES] as const).map((code) => {
      const kernels = routineKernels(() => codeOf(code), heap.memory, scratch, exports);
      const compute = kernels[kernel.name] as Kernel;
      const found = run(heap, trial, parameters, compute);
      if (again !== undefined) expect(run(heap, { ...trial, ...again }, parameters, compute)).toEqual(found);
      return found;
    });
    const most = wanted
      .flatMap((values) => Array.from(values))
      .reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    for (const one of machine) expect(one).toEqual(machine[0] ?? []);
    for (const one of [wasm, machine[0] ?? wasm]) {
      one.forEach((values, at) =>
        values.forEach((value, index) => {
          if (!(Math.abs(value - (wanted[at]?.[index] ?? NaN)) <= tolerance * most))
            throw new Error(`${value} at ${index}`);
        }),
      );
    }
  });
  fc.assert(property, { numRuns });
}
