import { realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { RandloraError } from "../errors.ts";
import { naming, oneLine } from "../safetensors/failure.ts";

/** Without these a model cannot be loaded, or speaks otherwise: none is left out in silence. */
const NEEDED =
  /^((generation_)?config\.json|tokenizer[^/\\]*|(special_tokens_map|added_tokens|vocab)\.json|(vocab|merges)\.txt|chat_template[^/\\]*|[^/\\]*\.model)$/;

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
   * @param path what it is called below the model's folder
   * @throws RandloraError `file` where the model needs it and it lies elsewhere, or a link leads nowhere
   */
  async resolve(at: string, path: string): Promise<{ readonly path: string } | { readonly why: string }> {
    const target = await naming(at, "read", realpath(at));
    const isOutside = !this.#allowed.some((folder) => isWithin(target, folder));
    if (isOutside && NEEDED.test(path)) {
      const cause = `it leads out of the model's folder, to ${oneLine(target)}`;
      throw new RandloraError("file", `${oneLine(at)}: ${cause}`, "put the file itself in the link's place");
    }
    if (isOutside) return { why: `leads out of the model's folder, to ${oneLine(target)}` };
    if ((await naming(at, "read", stat(target))).isDirectory())
      return { why: `is a link to ${oneLine(target)}, a folder` };
    return { path: target };
  }
}

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
