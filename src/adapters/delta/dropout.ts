import type { DropoutMask } from "../../compute/random/dropout.ts";
import type { PassKind } from "../method/training.ts";

/** What is dropped of the input of each module's adapter (by its index) in one pass; undefined: nothing. */
export type Masks = ((module: number) => DropoutMask) | undefined;

/** What a pass of a run drops. */
export function dropoutMasks(rate: number, seed: number, pass: PassKind): Masks {
  if (rate === 0 || pass.kind !== "train") return undefined;
  return (module) => dropoutMask(rate, seed, pass, module);
}

/** The masks of so many micro-batches differ. */
export const DROPOUT_MICRO_BATCHES = 2 ** 16;

/**
 * The mask of one module's input in one micro-batch: a function of the seed and of these numbers, so that a resumed run
 * draws what an uninterrupted one would.
 */
export function dropoutMask(
  rate: number,
  seed: number,
  { step, microBatch }: PassKind & { kind: "train" },
  module: number,
): DropoutMask {
  if (microBatch >= DROPOUT_MICRO_BATCHES || module >= 2 ** 16)
    throw new RangeError(`micro-batch ${microBatch}, module ${module}`);
  return { rate, key: [seed >>> 0, Math.floor(seed / 2 ** 32)], stream: [step, microBatch * 2 ** 16 + module] };
}
