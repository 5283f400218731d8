import type { Pairing } from "../pairing.ts";
import type { PhiloxStorage } from "../matrix-storage.ts";
import { NAMED_DTYPES } from "../../../files/safetensors/dtype.ts";
import type { Binding, DeviceBuffer } from "../buffer.ts";
import type { MatrixFormat } from "../dtype.ts";

/** Blocks of W start at multiples of this many rows: whole tiles of GPU kernels. */
export const BLOCK_ROWS = 192;

/** How a basis lies in memory; `philox` lies nowhere and is drawn where it is used. */
export type DeltaStorage = "bf16" | "f16" | "f32" | "ternary" | "philox";

/** The formats of that. */
export const BASIS_FORMATS = { ...NAMED_DTYPES, ternary: "TERNARY", philox: "PHILOX" } as const satisfies Readonly<
  Record<DeltaStorage, MatrixFormat>
>;

/** What decides about the kernel of ΔW. */
export interface DeltaVariant {
  readonly a: DeltaStorage;
  readonly b: DeltaStorage;
  readonly pairing: Pairing;
}

/** A matrix of random or trained values in a device's memory. */
export interface DeltaBasis {
  readonly buffer: DeviceBuffer;
  readonly storage: DeltaStorage;
  /** Elements from one row to the next. */
  readonly stride: number;
  /** What a stored ±1, or a dense draw, is multiplied by; 1 where true values are stored. */
  readonly value: number;
  /** How the elements are drawn, where none are stored. */
  readonly philox: PhiloxStorage | undefined;
}

/** Where ΔW of a block of rows of W goes, in f32. */
export interface DeltaBlock {
  /** First row of W in this block, a multiple of `BLOCK_ROWS`, and the number of rows. */
  readonly firstRow: number;
  readonly rows: number;
  readonly target: DeviceBuffer;
  /** Elements in `target` before the first row's first, a multiple of 4; 0 by default. */
  readonly at?: number;
  /** Elements from row to row, a multiple of 4. */
  readonly pitch: number;
  /** Adds to what is there instead of assigning. */
  readonly accumulate?: boolean;
}

/** One ΔW: scale · B̂ (rows, terms) · Ŝ (terms, cols), Ŝ = λ·A·γ, or the transpose of that. */
export interface DeltaOperands {
  readonly pairing: Pairing;
  readonly b: DeltaBasis;
  readonly a: DeltaBasis;
  /** In the order of the terms, zeros up to a multiple of 16. */
  readonly lambda: Binding;
  /** Rows padded to whole vectors of 4. */
  readonly gamma: Binding;
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  /** Rows of the operand whose row changes with every term. */
  readonly fastCount: number;
  /** B̂'s rows run along the columns of the stored weight. */
  readonly transposed: boolean;
  readonly scale: number;
}

/** ΔW of a block of rows of W. */
export interface Delta extends DeltaOperands {
  readonly block: DeltaBlock;
}

/** Elements of a row padded to whole vectors of 4. */
export function padded4(count: number): number {
  return Math.ceil(count / 4) * 4;
}
