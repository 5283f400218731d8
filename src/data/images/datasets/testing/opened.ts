import type { TemporaryFolder } from "../../../../files/testing/folder.ts";
import { openImages } from "../open.ts";
import type { ImageSet, Split } from "../types.ts";

/** A split of a folder, which must have it. */
export async function opened(
  folder: TemporaryFolder,
  split: Split = "train",
  classes?: readonly string[],
): Promise<ImageSet> {
  const set = await openImages({ data: folder.path, split, classes });
  if (set === undefined) throw new Error(`no ${split}`);
  return set;
}
