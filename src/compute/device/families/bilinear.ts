import type { Pairing } from "../pairing.ts";
import type { DeviceBuffer } from "../buffer.ts";
import type { Tensor } from "../tensor.ts";
import type { TernaryRows } from "../ternary-rows.ts";
import type { DeltaBasis } from "./delta.ts";

/** λ (r, n) in the order of B̂'s columns, with zeros up to `padded`. */
export interface LambdaOrder {
  readonly pairing: Pairing;
  readonly terms: number;
  readonly padded: number;
  readonly lambda: Tensor;
  readonly target: DeviceBuffer;
}

/** Ŝ (n·r, m) F32: λ[k, j]·A[k]⊙γ[j] in the row that meets B̂'s column. */
export interface ScaledA {
  readonly pairing: Pairing;
  readonly terms: number;
  readonly cols: number;
  /** A (r, ≥ m) F32 in true values. */
  readonly a: Tensor;
  /** (r, n) and (n, m) F32. */
  readonly lambda: Tensor;
  readonly gamma: Tensor;
  readonly target: DeviceBuffer;
}

/** y = x in f32, for any stored dtype. */
export interface Widen {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** What elements become: bf16 numbers in units of their own, or true values on a 16-bit grid (dense philox elements). */
export type Unpacked = "units" | "bf16" | "f16";

/** Rows `first` … of a basis of codes, or of none, as exact 16-bit numbers. */
export interface Unpack {
  readonly basis: DeltaBasis;
  readonly unpacked: Unpacked;
  readonly first: number;
  readonly rows: number;
  readonly cols: number;
  readonly target: DeviceBuffer;
  /** Elements from row to row of the target. */
  readonly pitch: number;
}

/** Some of the dense philox-v1 elements of a matrix, as the whole numbers 2b − 255 in bf16. */
export interface DrawUnits {
  readonly key: readonly [number, number];
  readonly stream: number;
  /** Elements from row to row in the order of drawing. */
  readonly stride: number;
  readonly firstRow: number;
  readonly firstCol: number;
  readonly rows: number;
  readonly cols: number;
  readonly target: DeviceBuffer;
  /** Elements from row to row of the target. */
  readonly pitch: number;
}

/** The sizes of dŜ (terms, cols). */
export interface BasisGradientShape {
  readonly terms: number;
  readonly cols: number;
  readonly bases: number;
}

/** dλ += …, dγ += … from dŜ = scale · PᵀQ, which is never stored. */
export interface BasisGradient {
  readonly shape: BasisGradientShape & { readonly r: number };
  readonly pairing: Pairing;
  /** P (terms, n·r): H in F32, or rows of B̂ as they lie; ternary where the device takes such rows. */
  readonly left: Tensor | TernaryRows;
  /** Q (terms, m) F32: x or ∂loss/∂y, or the same rows of G. */
  readonly right: Tensor;
  /** Of PᵀQ: what is missing to dŜ. */
  readonly scale: number;
  /** A (r, ≥ m) F32 in true values. */
  readonly a: Tensor;
  readonly lambda: Tensor;
  readonly gamma: Tensor;
  /** Where the gradients are added to. */
  readonly lambdaGradient: Tensor;
  readonly gammaGradient: Tensor;
  /** Scratch of at least the sizes that `Device.scratchBytes` says. */
  readonly lambdaParts: DeviceBuffer;
  readonly gammaParts: DeviceBuffer;
}
