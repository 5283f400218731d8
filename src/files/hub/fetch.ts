import { statfs } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { fetchFile, hasSize, pointerOf } from "./download.ts";
import type { Connection } from "./http.ts";
import type { RepositoryFolder } from "./layout.ts";
import { selectFiles, type Wanted } from "./select.ts";
import { neededPaths } from "./snapshot.ts";
import { partialBytes } from "./partial.ts";
import { askTree, etagOf, type Tree, type TreeFile } from "./tree.ts";

/** How a download stands. */
export interface HubProgress {
  /** `org/name`. */
  readonly repo: string;
  /** The file that moved last. */
  readonly file: string;
  /** Of the files that had to be fetched; what an earlier attempt left counts as done. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly filesDone: number;
  readonly filesTotal: number;
}

type ReportProgress = ((progress: HubProgress) => void) | undefined;

/** Files that are fetched at the same time: one connection seldom fills the line. */
const PARALLEL = 4;

/** Fetches whatever of `commit` is wanted and not there. */
export async function fetchSnapshot(
  connection: Connection,
  folder: RepositoryFolder,
  commit: string,
  wanted: Wanted,
  report: ReportProgress,
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
  await checkSpace(folder, missing, connection.settings.symlinks);
  await fetchAll(connection, folder, commit, missing, report);
}

async function fetchAll(
  connection: Connection,
  folder: RepositoryFolder,
  commit: string,
  files: readonly TreeFile[],
  report: ReportProgress,
): Promise<void> {
  const bytesTotal = files.reduce((sum, file) => sum + file.size, 0);
  let bytesDone = 0;
  let filesDone = 0;
  const tell = (file: string): void =>
    report?.({ repo: folder.repo, file, bytesDone, bytesTotal, filesDone, filesTotal: files.length });
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

function entryOf(folder: RepositoryFolder, tree: Tree, path: string): TreeFile {
  const file = tree.get(path);
  if (file !== undefined) return file;
  throw new RandloraError(
    "file",
    `${folder.repo} has no ${path}, which its index names`,
    "the repository is incomplete",
  );
}

async function checkSpace(folder: RepositoryFolder, files: readonly TreeFile[], symlinks: boolean): Promise<void> {
  let needed = 0;
  // Files of the same content share one blob; what lies there already, whole or in part, takes no more room.
  for (const [etag, { size }] of new Map(files.map((file) => [etagOf(file), file]))) {
    const blob = folder.blob(etag);
    if (await hasSize(blob, size)) needed += symlinks ? 0 : size;
    else needed += Math.max(0, size - (await partialBytes(blob)));
  }
  const disk = await statfs(folder.path).catch(() => undefined);
  const free = disk === undefined ? Infinity : disk.bavail * disk.bsize;
  if (needed <= free) return;
  throw new RandloraError(
    "file",
    `not enough space for ${folder.repo} in ${folder.cacheDir}: it needs ${gigabytes(needed)}, ${gigabytes(free)} are free`,
    "make room (`randlora list` shows what is cached), or set HF_HOME to a folder on a larger disk",
  );
}

function gigabytes(count: number): string {
  return `${(count / 1e9).toFixed(2)} GB`;
}
