import type { DeviceBuffer } from "../buffer.ts";
import type { Tensor } from "../tensor.ts";
import type { DeltaBlock } from "./delta.ts";

/** Elements of the bases that are drawn together. */
export const THETA_BLOCK = 16;

/** The size of an element as kernels draw it, a whole number within ±255. */
export const THETA_UNIT = 1 / 255;

/** One layer's share of bases that are drawn over whole networks (PRANC). */
export interface ThetaLayer {
  /** ΔW is (out, in). */
  readonly out: number;
  readonly in: number;
  /** Its first element in the bases. */
  readonly offset: number;
  /** What a coefficient of 1 multiplies an element by that is within ±1. */
  readonly scale: number;
}

/** Low and high 32 bits of a seed of 64 bits. */
export type ThetaKey = readonly [number, number];

/** ΔW (+)= scale · Σ_i α[i] · θ_i, for some rows of W. */
export interface ThetaDelta {
  readonly layer: ThetaLayer;
  readonly key: ThetaKey;
  /** α (1, K) F32. */
  readonly coefficients: Tensor;
  /** W is stored (in, out): the block's rows are columns of ΔW. */
  readonly transposed: boolean;
  readonly block: DeltaBlock;
}

/** dα_i += scale · Σ_e G[e] · θ_i[e] over the elements of one layer. */
export interface ThetaGradient {
  readonly layer: ThetaLayer;
  readonly key: ThetaKey;
  /** G = ∂loss/∂ΔW (out, in), F32. */
  readonly g: Tensor;
  /** ∂loss/∂α (1, K), added to. */
  readonly target: Tensor;
  /** Scratch of at least what `Device.scratchBytes` says of K bases. */
  readonly parts: DeviceBuffer;
}
