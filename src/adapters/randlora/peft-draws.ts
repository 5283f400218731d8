import { gridOfWeights } from "../frozen/grid.ts";
import type { BasesRecord } from "./record.ts";

/** Has PEFT this generator and this pairing? It draws from the seed in its own way, whatever the metadata say. */
export function canPeftDraw({ generator, pairing }: Pick<BasesRecord, "generator" | "pairing">): boolean {
  return pairing === "peft" && generator !== "philox-v1" && generator !== "torch-mt19937-f32";
}

/**
 * Would PEFT draw these very bases beside a base whose adapted weights are stored in these dtypes? It rounds to the grid
 * of the checkpoint, not to that in which the base was held in training.
 */
export function drawsAlike(
  record: Pick<BasesRecord, "generator" | "pairing" | "dtype">,
  dtypes: Iterable<string>,
): boolean {
  return canPeftDraw(record) && record.dtype === gridOfWeights(dtypes);
}
