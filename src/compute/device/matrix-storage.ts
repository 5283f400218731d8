import { fromHalfBits } from "../random/grid.ts";
import { itemAt } from "../../files/item-at.ts";
import { philoxElement, type PhiloxStream } from "../random/philox.ts";

/** 16-bit patterns, one an element; every value is exactly representable on that grid. */
export interface HalfStorage {
  readonly kind: "bf16" | "f16";
  readonly data: Uint16Array<ArrayBuffer>;
}

/** Plain single precision, for f32 draws and saved projections that fit no 16-bit grid. */
export interface SingleStorage {
  readonly kind: "f32";
  readonly data: Float32Array<ArrayBuffer>;
}

/** Two-bit codes, 16 a word, first element in the lowest bits: 0 → 0, 1 → +scale, 2 → −scale. */
export interface TernaryStorage {
  readonly kind: "ternary";
  readonly data: Uint32Array<ArrayBuffer>;
  /** Already rounded to the grid of the bases; an f32 value. */
  readonly scale: number;
}

/** Nothing stored: element (row, col) is element `row · pitch + col` of a philox-v1 stream, on its grid. */
export interface PhiloxStorage extends PhiloxStream {
  readonly kind: "philox";
  /** Elements between two rows in the order of drawing: `min` for A, ⌈min/r⌉ · r for B (of the shape drawn at). */
  readonly pitch: number;
}

export type BasisStorage = HalfStorage | SingleStorage | TernaryStorage | PhiloxStorage;

/** One random matrix as it goes to the GPU: row-major, rows padded with zeros to `stride` elements. */
export interface BasisMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Elements from one row to the next, see {@link paddedStride}. */
  readonly stride: number;
  readonly storage: BasisStorage;
}

/** Elements from one row to the next for `cols` columns: two-bit rows begin at whole words, others at whole 16 or 32 bytes. */
export function paddedStride(cols: number, kind?: "ternary"): number {
  const whole = kind === "ternary" ? 16 : 8;
  return Math.ceil(cols / whole) * whole;
}

/** Element (row, col) of a packed matrix, an f32 value; philox elements are drawn. */
export function readElement(matrix: BasisMatrix, row: number, col: number): number {
  if (row < 0 || row >= matrix.rows || col < 0 || col >= matrix.cols) {
    throw new RangeError(`element (${row}, ${col}) of a ${matrix.rows} × ${matrix.cols} basis`);
  }
  const { storage } = matrix;
  const at = row * matrix.stride + col;
  switch (storage.kind) {
    case "philox":
      return philoxElement(storage, row * storage.pitch + col);
    case "ternary": {
      const code = (itemAt(storage.data, at >>> 4) >>> ((at & 15) * 2)) & 3;
      return ((code & 1) - (code >>> 1)) * storage.scale;
    }
    case "f32":
      return itemAt(storage.data, at);
    default:
      return fromHalfBits(itemAt(storage.data, at), storage.kind);
  }
}
