import { readdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../errors.ts";
import { readIndex } from "../safetensors/index-file.ts";
import { fetchFile, hasSize, pointerOf } from "./download.ts";
import { HubFailure } from "./failure.ts";
import type { Connection } from "./http.ts";
import { RepositoryFolder } from "./layout.ts";
import { formatHubName, type HubName, isCommit } from "./name.ts";
import { type Selection, selectFiles, type Wanted } from "./select.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { askCommit, askTree, readTree, type Tree, type TreeFile } from "./tree.ts";

/** How a download stands. */
export interface HubProgress {
  /** The file that moved last. */
  readonly file: string;
  /** Of the files that had to be fetched; what an earlier attempt left counts as done. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly filesDone: number;
  readonly filesTotal: number;
}

/** How to look a name up. */
export interface HubOptions {
  /** Called often while something is fetched, never otherwise. */
  readonly progress?: ((progress: HubProgress) => void) | undefined;
  /** Told in one line when the cached copy stands in for a Hub that does not answer. */
  readonly warn?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Use only what is cached; `HF_HUB_OFFLINE` by default. */
  readonly offline?: boolean | undefined;
  /** Where the Hub and the cache are; the environment's by default. */
  readonly settings?: HubSettings | undefined;
}

/** Files that are fetched at the same time: one connection seldom fills the line. */
const PARALLEL = 4;

/**
 * The folder with the model's configuration, tokenizer and safetensors weights, fetched into the cache as far as they
 * are not there. A branch or tag is looked up anew each time; when the Hub does not answer, the copy that is cached is
 * used and `warn` told.
 *
 * @param options.weights false when the tokenizer and the configuration suffice
 * @throws RandloraError "file": {@link HubFailure} when the Hub has a reason, else when the cache or the repository lacks
 * something or the disk is full
 */
export async function resolveModel(
  name: HubName,
  options: HubOptions & { readonly weights?: boolean } = {},
): Promise<string> {
  return await resolveSnapshot(name, options.weights === false ? "tokenizer" : "model", options);
}

/** The folder with `adapter_config.json` and `adapter_model.safetensors`, or `adapter.json`; as {@link resolveModel}. */
export async function resolveAdapter(name: HubName, options: HubOptions = {}): Promise<string> {
  return await resolveSnapshot(name, "adapter", options);
}

async function resolveSnapshot(name: HubName, wanted: Wanted, options: HubOptions): Promise<string> {
  const settings = options.settings ?? hubSettings();
  const folder = new RepositoryFolder(settings.cacheDir, name.repo);
  if (options.offline ?? settings.offline) return await cachedSnapshot(folder, name, wanted);

  const connection = { settings, signal: options.signal ?? new AbortController().signal };
  const known = await folder.commitOf(name.revision);
  const isCached = known !== undefined && (await isComplete(folder, known, wanted));
  // A commit never changes: nothing to ask.
  if (isCached && isCommit(name.revision)) return folder.snapshot(name.revision);
  try {
    const commit = isCommit(name.revision)
      ? name.revision
      : await askCommit(connection, name, isCached ? 0 : undefined);
    await fetchSnapshot(connection, folder, commit, wanted, options.progress);
    await folder.writeRef(name.revision, commit);
    return folder.snapshot(commit);
  } catch (thrown) {
    // A revision that is gone is the user's business, and so is a full disk; everything else may pass.
    if (!isCached || known === undefined || !(thrown instanceof HubFailure) || thrown.kind === "absent") throw thrown;
    options.warn?.(`${thrown.message}; using the copy in the cache (${known.slice(0, 7)})`);
    return folder.snapshot(known);
  }
}

/** Fetches whatever of `commit` is wanted and not there. */
async function fetchSnapshot(
  connection: Connection,
  folder: RepositoryFolder,
  commit: string,
  wanted: Wanted,
  report: HubOptions["progress"],
): Promise<void> {
  const tree = await askTree(connection, folder, commit);
  const selection = selectFiles(folder.repo, tree.keys(), wanted);
  await folder.prepare();
  if (selection.index !== undefined) {
    // First, by itself: only it tells which shards are to come, and with them how much.
    await fetchFile(connection, folder, commit, entryOf(folder, tree, selection.index), () => undefined);
  }
  const paths = await neededPaths(folder, commit, selection);
  const missing: TreeFile[] = [];
  for (const path of paths) {
    const file = entryOf(folder, tree, path);
    if (!(await hasSize(pointerOf(folder, commit, path), file.size))) missing.push(file);
  }
  await checkSpace(folder, missing);
  await fetchAll(connection, folder, commit, missing, report);
}

async function fetchAll(
  connection: Connection,
  folder: RepositoryFolder,
  commit: string,
  files: readonly TreeFile[],
  report: HubOptions["progress"],
): Promise<void> {
  const bytesTotal = files.reduce((sum, file) => sum + file.size, 0);
  let bytesDone = 0;
  let filesDone = 0;
  const tell = (file: string): void => report?.({ file, bytesDone, bytesTotal, filesDone, filesTotal: files.length });
  // When one file fails the others stop too, and keep what they have.
  const failed = new AbortController();
  const shared = { ...connection, signal: AbortSignal.any([connection.signal, failed.signal]) };
  const waiting = files.values();
  const work = async (): Promise<void> => {
    for (const file of waiting) {
      await fetchFile(shared, folder, commit, file, (count) => {
        bytesDone += count;
        tell(file.path);
      });
      filesDone++;
      tell(file.path);
    }
  };
  const workers = Array.from({ length: Math.min(PARALLEL, files.length) }, async () => {
    try {
      await work();
    } catch (thrown) {
      failed.abort(thrown);
      throw thrown;
    }
  });
  const results = await Promise.allSettled(workers);
  connection.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

/** The selection with the shards that its index names. */
async function neededPaths(folder: RepositoryFolder, commit: string, { files, index }: Selection): Promise<string[]> {
  if (index === undefined) return [...files];
  const { shardOf } = await readIndex(pointerOf(folder, commit, index));
  return [...new Set([...files, ...shardOf.values()])];
}

function entryOf(folder: RepositoryFolder, tree: Tree, path: string): TreeFile {
  const file = tree.get(path);
  if (file !== undefined) return file;
  throw new RandloraError(
    "file",
    `${folder.repo} has no ${path}, which its index names`,
    "the repository is incomplete",
  );
}

async function checkSpace(folder: RepositoryFolder, files: readonly TreeFile[]): Promise<void> {
  const needed = files.reduce((sum, file) => sum + file.size, 0);
  const disk = await statfs(folder.path).catch(() => undefined);
  const free = disk === undefined ? Infinity : disk.bavail * disk.bsize;
  if (needed <= free) return;
  throw new RandloraError(
    "file",
    `not enough space for ${folder.repo} in ${folder.cacheDir}: it needs ${gigabytes(needed)}, ${gigabytes(free)} are free`,
    "make room (`randlora cache list` shows what is cached), or set HF_HOME to a folder on a larger disk",
  );
}

function gigabytes(count: number): string {
  return `${(count / 1e9).toFixed(2)} GB`;
}

/** {@link snapshotGap} where the answer decides only whether to ask the Hub, which will tell what is wrong. */
async function isComplete(folder: RepositoryFolder, commit: string, wanted: Wanted): Promise<boolean> {
  const gap = await snapshotGap(folder, commit, wanted).catch(() => undefined);
  return gap === "complete";
}

/** The snapshot as the cache holds it, without a look at the network. */
async function cachedSnapshot(folder: RepositoryFolder, name: HubName, wanted: Wanted): Promise<string> {
  const hint = "unset HF_HUB_OFFLINE to fetch it, or set HF_HOME to the cache that holds it";
  const commit = await folder.commitOf(name.revision);
  const gap = commit === undefined ? "absent" : await snapshotGap(folder, commit, wanted);
  if (commit === undefined || gap === "absent") {
    throw new RandloraError(
      "file",
      `${formatHubName(name)} is not in the cache (${folder.cacheDir}), and we are offline`,
      hint,
    );
  }
  if (gap === "complete") return folder.snapshot(commit);
  throw new RandloraError(
    "file",
    `the cache holds only a part of ${formatHubName(name)}: ${gap.missing} missing`,
    hint,
  );
}

/**
 * What of the wanted files a snapshot lacks. Where the list of the commit's files is not cached (older versions of Python
 * left none) the folder itself must make sense.
 */
async function snapshotGap(
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
    const pointer = join(snapshot, path);
    const size = tree?.get(path)?.size;
    return size === undefined ? await Bun.file(pointer).exists() : await hasSize(pointer, size);
  };
  if (selection.index !== undefined && !(await isThere(selection.index))) return { missing: selection.index };
  for (const path of await neededPaths(folder, commit, selection)) {
    if (!(await isThere(path))) return { missing: path };
  }
  return "complete";
}
