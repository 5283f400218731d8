import type { StepPlan } from "../../src/data/batches/types.ts";
import type { MicroBatch } from "../../src/data/text/samples/types.ts";

/** Tokens of a text. */
export const ROW = 512;

/**
 * Texts of 512 tokens (or one shorter text), all of whose tokens but the first are supervised. The ids say nothing;
 * `seed` makes them other ones.
 */
export function microBatchOf(tokens: number, vocabularySize: number, seed: number): MicroBatch {
  const length = Math.min(ROW, tokens);
  const ids = Uint32Array.from({ length: tokens }, (_, at) => ((at + 1) * 7919 + seed * 104_729) % vocabularySize);
  const positions = ids.map((_, at) => at % length);
  const rows = Uint32Array.from(positions.keys().filter((at) => at + 1 < tokens && (at + 1) % length !== 0));
  return {
    ids,
    positions,
    starts: ids.map((_, at) => at - (at % length)),
    rows,
    targets: rows.map((at) => ids[at + 1] ?? 0),
    samples: Math.ceil(tokens / length),
  };
}

/** A run of one such micro-batch a step, as far as an estimate of memory looks at it. */
export function planOf(tokens: number): StepPlan<MicroBatch> {
  const targets = microBatchOf(tokens, 1, 0).rows.length;
  const step = () => {
    throw new Error("an estimate makes up its own steps");
  };
  return { length: 1, stepsPerEpoch: 1, largest: { tokens, targets }, step };
}
