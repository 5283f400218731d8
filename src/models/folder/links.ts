import { realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { naming, oneLine } from "../../files/failure.ts";

/**
 * Where the links of a model's folder may lead. Whoever made the folder chose their targets, and a copy would carry any file
 * of this machine away with the output: so only files of the folder itself, and of the Hub cache's `blobs/` beside it
 * (`models--ORG--NAME/snapshots/COMMIT/config.json` → `../../blobs/HASH`).
 */
export class FolderLinks {
  readonly #allowed: readonly string[];

  /** @param folder its real path */
  constructor(folder: string) {
    const [, repository] = /^(.*[\\/]models--[^\\/]+)[\\/]snapshots[\\/][^\\/]+(?:[\\/]|$)/.exec(folder) ?? [];
    this.#allowed = repository === undefined ? [folder] : [folder, join(repository, "blobs")];
  }

  /**
   * The file at `at`, links followed; or why it is left out. Links to folders are not followed: they may lead in circles.
   * @throws RandloraError `file` where a link leads nowhere
   */
  async resolve(at: string): Promise<{ readonly path: string } | { readonly why: string }> {
    const path = await naming(at, "read", realpath(at));
    if (!this.#allowed.some((folder) => isWithin(path, folder))) {
      return { why: `leads out of the model's folder, to ${oneLine(path)}` };
    }
    const found = await naming(at, "read", stat(path));
    if (found.isDirectory()) return { why: `is a link to ${oneLine(path)}, a folder` };
    return found.isFile() ? { path } : { why: "is neither a file nor a folder" };
  }
}

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
