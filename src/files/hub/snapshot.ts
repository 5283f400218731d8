import { readdir } from "node:fs/promises";
import { readIndex } from "../safetensors/index-file.ts";
import { hasSize, pointerOf } from "./download.ts";
import type { RepositoryFolder } from "./layout.ts";
import { type Selection, selectFiles, type Wanted } from "./select.ts";
import { readTree } from "./tree.ts";

/**
 * What of the wanted files a snapshot lacks. Where the list of the commit's files is not cached (older versions of Python
 * left none) the folder itself must make sense.
 */
export async function snapshotGap(
  folder: RepositoryFolder,
  commit: string,
  wanted: Wanted,
): Promise<"complete" | "absent" | { readonly missing: string }> {
  const snapshot = folder.snapshot(commit);
  const tree = await readTree(folder, commit);
  const present = await readdir(snapshot, { recursive: true }).catch(() => []);
  if (present.length === 0) return "absent";
  const paths = tree?.keys() ?? present.map((path) => path.replaceAll("\\", "/"));
  let selection: Selection;
  try {
    selection = selectFiles(folder.repo, paths, wanted);
  } catch (thrown) {
    // With the list the repository itself is unfit; without it the folder is a part of something unknown.
    if (tree !== undefined) throw thrown;
    return { missing: wanted === "adapter" ? "the adapter" : "its configuration or its weights" };
  }
  const isThere = async (path: string): Promise<boolean> => {
    const pointer = pointerOf(folder, commit, path);
    const size = tree?.get(path)?.size;
    return size === undefined ? await Bun.file(pointer).exists() : await hasSize(pointer, size);
  };
  if (selection.index !== undefined && !(await isThere(selection.index))) return { missing: selection.index };
  for (const path of await neededPaths(folder, commit, selection)) {
    if (!(await isThere(path))) return { missing: path };
  }
  return "complete";
}

/** The selection with the shards that its index names. */
export async function neededPaths(
  folder: RepositoryFolder,
  commit: string,
  { files, index }: Selection,
): Promise<string[]> {
  if (index === undefined) return [...files];
  const { shardOf } = await readIndex(pointerOf(folder, commit, index));
  return [...new Set([...files, ...shardOf.values()])];
}
