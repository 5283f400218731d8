import { fileSet } from "../datasets/files.ts";
import { readClassFolders } from "../datasets/folders.ts";
import type { ImageSet } from "../datasets/types.ts";
import { wrong } from "./types.ts";

/**
 * A split that is one folder a class. Labels are the order of the folders' names.
 *
 * @param named what the class of a folder is called: by its name, or all of them in order
 */
export async function openClassFolders(
  root: string,
  named: ((folder: string) => string) | readonly string[],
  wanted?: (name: string) => boolean,
): Promise<ImageSet> {
  const { classes: folders, samples } = await readClassFolders(root, undefined, wanted);
  const classes = typeof named === "function" ? folders.map(named) : named;
  if (folders.length !== classes.length) {
    throw wrong(root, `${folders.length} class folders in it, and the set has ${classes.length} classes`);
  }
  return fileSet(root, { classes, texts: classes, upright: false }, samples);
}
