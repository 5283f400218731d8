import type { Sparsity } from "../../random/names.ts";

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

/** Nothing stored: element (row, col) is philox-v1's flat element `row · pitch + col` of `stream`. */
export interface PhiloxStorage {
  readonly kind: "philox";
  /** Low and high 32 bits of the basis seed. */
  readonly key: readonly [number, number];
  /** 0 for A, 1 for B. */
  readonly stream: 0 | 1;
  /** Elements between two rows in the order of drawing: `min` for A, `numBases(drawn) · r` for B. */
  readonly pitch: number;
  readonly sparsity: Sparsity;
  /** The f32 factor of a ternary element (sparse and very sparse); 1 for dense. */
  readonly scale: number;
  /** Very sparse: u < threshold → −1, u ≥ 65536 − threshold → +1; 0 otherwise. */
  readonly threshold: number;
}

export type BasisStorage = HalfStorage | SingleStorage | TernaryStorage | PhiloxStorage;

/** One random matrix as it goes to the GPU: row-major, rows padded with zeros to `stride` elements. */
export interface BasisMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Elements from one row to the next, a multiple of 16. */
  readonly stride: number;
  readonly storage: BasisStorage;
}
