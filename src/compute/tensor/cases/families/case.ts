import type { Families } from "../../../device/families.ts";
import type { DeltaBasis } from "../../../device/families/delta.ts";
import type { DeviceBuffer } from "../../../device/buffer.ts";
import type { KernelDtype, MatrixFormat } from "../../../device/dtype.ts";
import { paddedStride, readElement } from "../../../device/matrix-storage.ts";
import type { Pairing } from "../../../device/pairing.ts";
import { pitchOf, type Tensor, tensorBytes, type TensorDtype, tensorIn } from "../../../device/tensor.ts";
import { philoxElement, philoxStream } from "../../../random/philox.ts";
import { at, type Matrix, matrixOf } from "../../op.ts";
import type { Run } from "../../run.ts";
import { random } from "../case.ts";
import { place } from "../placed.ts";

/** A family that is no op of the registry, tried on one size: what adapters, merges and the optimizer are made of. */
export interface FamilyCase {
  readonly family: keyof Families;
  /** What a stored operand is stored as. */
  readonly format: MatrixFormat;
  /** What else sets it apart. */
  readonly name: string;
  /** Places operands and records commands. @returns what they must leave */
  record(run: Run): readonly Left[];
}

/** A tensor, and the numbers that it must hold; NaN where that is left open. */
export interface Left {
  readonly of: string;
  readonly tensor: Tensor;
  readonly wanted: Matrix;
  /** The share of the largest that may be missed; that of rounding by default. */
  readonly tolerance?: number;
}

/** An operand in the memory of a device, and its numbers. */
export interface Placed extends Tensor {
  readonly matrix: Matrix;
}

/** Random numbers. */
export function placed(run: Run, rows: number, cols: number, dtype: TensorDtype = "F32"): Placed {
  const operand = random(rows, cols, dtype);
  return { ...place(run.device, operand), matrix: operand.matrix };
}

/** These numbers. */
export function placedAs(run: Run, matrix: Matrix): Placed {
  return { ...place(run.device, { matrix, dtype: "F32" }), matrix };
}

/** NaN in 16 bits, twice, and in 32. */
const NAN = 0x7fc07fc0;

/** Where results go, full of NaN: stale memory must not show. */
export function target(run: Run, rows: number, cols: number, dtype: KernelDtype = "F32", pitch = pitchOf(cols, dtype)) {
  const buffer = bytes(run, tensorBytes([rows, pitch], dtype));
  run.device.write(buffer, new Uint32Array(buffer.size / 4).fill(NAN));
  return { ...tensorIn(buffer, [rows, cols], dtype), pitch };
}

/** Scratch. */
export function bytes({ device }: Run, size: number): DeviceBuffer {
  return device.memory.allocate("bytes", size);
}

/** Σ value(term) over `terms`. */
export function sum(terms: number, value: (term: number) => number): number {
  let total = 0;
  for (let term = 0; term < terms; term++) total += value(term);
  return total;
}

export const PAIRINGS: readonly Pairing[] = ["peft", "paper"];

/** How bases lie in memory, or are drawn, and the formats of that. */
export const FORMATS = {
  f32: "F32",
  bf16: "BF16",
  f16: "F16",
  ternary: "TERNARY",
  philox: "PHILOX",
  "philox, sparse": "PHILOX",
  "philox, very sparse": "PHILOX",
} as const satisfies Readonly<Record<string, MatrixFormat>>;
export type BasisKind = keyof typeof FORMATS;
export const BASES = Object.keys(FORMATS) as readonly BasisKind[]; // its keys

const SPARSITIES = { philox: "dense", "philox, sparse": "sparse", "philox, very sparse": "very-sparse" } as const;

/** A basis, and its elements. */
export interface PlacedBasis extends DeltaBasis {
  readonly matrix: Matrix;
}

/** A random basis. @param stream 0 for A, 1 for B */
export function basis(run: Run, kind: BasisKind, rows: number, cols: number, stream: 0 | 1 = 1): PlacedBasis {
  const stride = paddedStride(cols, kind === "ternary" ? kind : undefined);
  if (kind === "ternary") {
    const data = Uint32Array.from({ length: (rows * stride) / 16 }, (_, word) => (word % 2 ? 0x42189246 : 0x91846124));
    const buffer = bytes(run, data.byteLength);
    run.device.write(buffer, data);
    const codes = { rows, cols, stride, storage: { kind, data, scale: 1 } } as const;
    const matrix = matrixOf(rows, cols, (row, col) => readElement(codes, row, col));
    return { buffer, storage: kind, stride, value: 1, philox: undefined, matrix };
  }
  if (kind === "f32" || kind === "bf16" || kind === "f16") {
    const { buffer, matrix } = placed(run, rows, stride, FORMATS[kind]);
    return { buffer, storage: kind, stride, value: 1, philox: undefined, matrix };
  }
  const drawn = philoxStream(0x1_0000_000bn, stream, SPARSITIES[kind], 50);
  const philox = { ...drawn, kind: "philox", pitch: cols } as const;
  const matrix = matrixOf(rows, cols, (row, col) => philoxElement(philox, row * cols + col));
  return { buffer: bytes(run, 16), storage: "philox", stride, value: philox.scale, philox, matrix };
}

/** A matrix with its rows for columns. */
export function flipped(matrix: Matrix): Matrix {
  const [rows, cols] = matrix.shape;
  return matrixOf(cols, rows, (row, col) => at(matrix, col, row));
}
