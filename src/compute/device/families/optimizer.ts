import type { DeviceBuffer } from "../buffer.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Words of the small buffer that the commands of an optimizer step share: the loss, summed over the micro-batches; the norm of all
 * gradients before clipping; what clipping multiplies them by, all f32; and 1 once loss or norm was not finite, from when on nothing is updated.
 */
export const STEP_STATE = { loss: 0, norm: 1, coefficient: 2, halted: 3 } as const;

/** Bytes of that buffer. */
export const STEP_STATE_BYTES = 16;

/** One AdamW step on a flat array, in place; not taken once the state says halted. */
export interface AdamWStep {
  /** Numbers in each buffer, a multiple of 64. */
  readonly size: number;
  readonly value: DeviceBuffer;
  /** Multiplied by the state's coefficient; zero afterwards. */
  readonly gradient: DeviceBuffer;
  readonly mean: DeviceBuffer;
  readonly square: DeviceBuffer;
  readonly state: DeviceBuffer;
  /** 1 − lr · weight decay. */
  readonly keep: number;
  /** 1 − β₁. */
  readonly meanWeight: number;
  /** β₂ and 1 − β₂. */
  readonly squareKeep: number;
  readonly squareWeight: number;
  /** √(1 − β₂ᵗ). */
  readonly correction: number;
  readonly epsilon: number;
  /** lr / (1 − β₁ᵗ). */
  readonly stepSize: number;
}

/** The norm of all gradients, the factor of clipping, and whether training must halt, into the state. */
export interface GradientNorm {
  readonly gradients: readonly { readonly buffer: DeviceBuffer; readonly size: number }[];
  /** The largest norm; 0: gradients are left as they are. */
  readonly clip: number;
  readonly state: DeviceBuffer;
}

/** sums[slot] += weight · Σ losses (or = when `first`); losses: (tokens, 1), sums: one row. */
export interface LossSum {
  readonly losses: Tensor;
  readonly weight: number;
  readonly sums: Tensor;
  readonly slot: number;
  readonly first: boolean;
}
