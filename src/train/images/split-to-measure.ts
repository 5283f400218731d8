import type { Split } from "../../data/images/datasets/types.ts";
import type { TrainSettings } from "../settings/settings.ts";

/**
 * The part of a run's images that shows what came of it: the first one that is there, and was not trained on if there is
 * such a one; undefined of texts.
 */
export async function splitToMeasure({
  data,
  images,
}: Pick<TrainSettings, "data" | "images">): Promise<Split | undefined> {
  if (images === null) return undefined;
  const { hasSplit } = await import("../../data/images/datasets/open.ts");
  for (const split of ["test", "valid", "train"] as const) {
    // The run is safe on the disk: what became of its data meanwhile is not worth failing for.
    if (await hasSplit({ data, split, dataset: images.dataset ?? undefined }).catch(() => false)) return split;
  }
  return undefined;
}
