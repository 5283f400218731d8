import type { TemporaryFolder } from "../../../../files/testing/folder.ts";
import { openPictures } from "../open.ts";
import type { PictureSet, Split } from "../types.ts";

/** A split of a folder, which must have it. */
export async function opened(
  folder: TemporaryFolder,
  split: Split = "train",
  classes?: readonly string[],
): Promise<PictureSet> {
  const set = await openPictures({ data: folder.path, split, classes });
  if (set === undefined) throw new Error(`no ${split}`);
  return set;
}
