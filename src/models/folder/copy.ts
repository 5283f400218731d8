import { access, constants, copyFile, mkdir, readdir, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { RUNS } from "../../files/hub/name.ts";
import { METRICS_FILE, SETTINGS_FILE } from "../../files/run-names.ts";

/** Weights in any format: those of the output are written anew, and another format's would be the unmerged ones. */
const WEIGHTS =
  /\.(safetensors|safetensors\.index(\.\w+)?\.json|bin|bin\.index(\.\w+)?\.json|pth?|ckpt|gguf|ggml|onnx|onnx_data|h5|msgpack|npz|ot|tflite|mlmodel)$/i;

/** What is not part of a model: version control, download state, unfinished outputs and parts of them, the logs of trainings. */
const CLUTTER = new RegExp(`^(\\.git|\\.gitattributes|\\.cache|\\.DS_Store|.*\\.parts?|${RUNS})$`);

/** Without these a model cannot be loaded, or speaks otherwise: none is left out in silence. */
const NEEDED =
  /^((generation_)?config\.json|tokenizer[^/\\]*|(special_tokens_map|added_tokens|vocab)\.json|(vocab|merges)\.txt|chat_template[^/\\]*|[^/\\]*\.model)$/;

const CONFIG = "config.json";

/** What a copy of a model consists of beside its weights and config.json. */
export interface FoundFiles {
  /** Paths below the model's folder, each before what is in it. */
  readonly folders: readonly string[];
  /** Paths below the model's folder, and where the bytes are: elsewhere for links. */
  readonly files: readonly { readonly path: string; readonly source: string }[];
  /** Weights that are left out although they are no part of the checkpoint (another format, stale shards). */
  readonly weights: readonly string[];
  /** What else is left out, and why: one line each. */
  readonly notes: readonly string[];
}

/**
 * Finds everything but weights and the model's config.json in a model folder, subfolders too; links as
 * {@link FolderLinks} has them. Nothing is opened: pipes and devices are left out.
 * @param skip files and folders to pass over, as paths below `from`: the checkpoint's own files, and the output where it lies inside
 * @throws RandloraError `file` where the model needs what would be left out: its settings, its tokenizer
 */
export async function findModelFiles(from: string, skip: ReadonlySet<string>): Promise<FoundFiles> {
  const found = { folders: [], files: [], weights: [], notes: [] };
  await lookInto(from, "", { found, links: new FolderLinks(await naming(from, "read", realpath(from))), skip });
  return found;
}

/** A checkpoint's folder by its real path, and its own files in there: what {@link findModelFiles} asks for. */
export async function ownFiles({ folder, paths }: Pick<Checkpoint, "folder" | "paths">): Promise<{
  readonly from: string;
  readonly own: readonly string[];
}> {
  const from = await naming(folder, "read", realpath(folder));
  return { from, own: paths.map((path) => join(from, relative(folder, path))) };
}

/** Copies what {@link findModelFiles} finds. @returns what it found */
export async function copyModelFiles(from: string, to: string, skip: ReadonlySet<string>): Promise<FoundFiles> {
  await naming(to, "write", mkdir(to, { recursive: true }));
  const found = await findModelFiles(from, skip);
  for (const folder of found.folders) await naming(join(to, folder), "write", mkdir(join(to, folder)));
  for (const { path, source } of found.files) {
    // A copy that fails does not say on which side.
    await naming(join(from, path), "read", access(source, constants.R_OK));
    await naming(join(to, path), "write", copyFile(source, join(to, path)));
  }
  return found;
}

/** The names of files and folders that {@link copyModelFiles} would copy of this folder. */
export async function namesIn(from: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await naming(from, "read", readdir(from, { withFileTypes: true }))) {
    const isLeft = entry.isDirectory() ? await isRun(join(from, entry.name)) : WEIGHTS.test(entry.name);
    if (!isLeft && !CLUTTER.test(entry.name)) names.push(entry.name);
  }
  return names;
}

interface Search {
  readonly found: { readonly [K in keyof FoundFiles]: FoundFiles[K][number][] };
  readonly links: FolderLinks;
  readonly skip: ReadonlySet<string>;
}

/** @param below the folder's path below the model's; empty for the model's own */
async function lookInto(from: string, below: string, search: Search): Promise<void> {
  const { found, links, skip } = search;
  const entries = await naming(from, "read", readdir(from, { withFileTypes: true }));
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const { name } = entry;
    const at = join(from, name);
    const path = join(below, name);
    if (CLUTTER.test(name) || skip.has(at)) continue;
    if (entry.isDirectory()) {
      if (await isRun(at)) continue;
      found.folders.push(path);
      await lookInto(at, path, search);
    } else if (WEIGHTS.test(name)) {
      found.weights.push(path);
    } else {
      const source = await links.resolve(at);
      if ("why" in source) found.notes.push(leftOut(at, path, source.why));
      // The output's own is made of it.
      else if (path !== CONFIG) found.files.push({ path, source: source.path });
    }
  }
}

/** Says that a file is left out. @throws RandloraError `file` where the model needs it */
function leftOut(at: string, path: string, why: string): string {
  if (!NEEDED.test(path)) return `not copied: ${oneLine(path)} ${why}`;
  throw new RandloraError("file", `${oneLine(at)}: it ${why}`, "put the file itself in its place");
}

/** A training run lies where its user said, be it in the model's folder: it is no part of the model, and may be writing this copy. */
async function isRun(folder: string): Promise<boolean> {
  const isThere = (name: string) =>
    access(join(folder, name)).then(
      () => true,
      () => false,
    );
  return (await isThere(SETTINGS_FILE)) && (await isThere(METRICS_FILE));
}

/**
 * Where the links of a model's folder may lead. Whoever made the folder chose their targets, and a copy would carry any file
 * of this machine away with the output: so only files of the folder itself, and of the Hub cache's `blobs/` beside it
 * (`models--ORG--NAME/snapshots/COMMIT/config.json` → `../../blobs/HASH`).
 */
class FolderLinks {
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
