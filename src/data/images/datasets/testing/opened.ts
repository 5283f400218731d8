import { readFileSync } from "node:fs";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { TemporaryFolder } from "../../../../files/testing/folder.ts";
import { openImages } from "../open.ts";
import { IMAGES } from "../../testing/expected.ts";
import type { ImageSet, Split } from "../types.ts";

/** A file of fixtures/images/sets. */
export function setFile(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(IMAGES, "sets", name)));
}

/** Files by their paths; a path that ends in a slash is an empty folder. */
export type Tree = Readonly<Record<string, string | Uint8Array | { readonly link: string }>>;

export async function plant(root: string, tree: Tree): Promise<void> {
  for (const [path, content] of Object.entries(tree)) {
    if (path.endsWith("/")) await mkdir(join(root, path), { recursive: true });
    else if (typeof content === "object" && "link" in content) await symlink(content.link, join(root, path));
    else await Bun.write(join(root, path), content);
  }
}

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
