import { lstat, readdir, readFile, readlink, stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { naming, systemCode } from "../failure.ts";

/*
 * What the cache holds: files in folders of a snapshot, refs with a slash, repositories without refs (fetched by commit) or
 * with broken links among it.
 */

/** A commit of a repository in the cache. */
export interface CachedRevision {
  readonly commit: string;
  readonly path: string;
  /** Branches and tags that were this commit when last asked. */
  readonly refs: readonly string[];
  /** Absolute paths of the files that hold its bytes: blobs, or files of the snapshot where there are no links. */
  readonly blobs: ReadonlySet<string>;
  readonly files: number;
  readonly bytes: number;
}

/** A model or adapter repository in the cache. */
export interface CachedRepository {
  /** `org/name`. */
  readonly repo: string;
  readonly path: string;
  /** Everything on disk: what revisions share once, and what downloads left unfinished. */
  readonly bytes: number;
  /** Of these, bytes of unfinished downloads. */
  readonly incompleteBytes: number;
  readonly revisions: readonly CachedRevision[];
  /** When a file was last read, as far as the file system keeps account; milliseconds since 1970. */
  readonly lastUsedMs: number;
}

const PREFIX = "models--";

/** The models and adapters in the cache, by name; none when there is no cache. Data sets and spaces are not ours. */
export async function scanCache(cacheDir: string): Promise<CachedRepository[]> {
  const repositories: CachedRepository[] = [];
  for (const entry of await listFolder(cacheDir)) {
    if (!entry.startsWith(PREFIX) || !(await lstat(join(cacheDir, entry))).isDirectory()) continue;
    repositories.push(await scanRepository(join(cacheDir, entry), entry.slice(PREFIX.length).replace("--", "/")));
  }
  return repositories.toSorted((a, b) => (a.repo < b.repo ? -1 : 1));
}

async function scanRepository(path: string, repo: string): Promise<CachedRepository> {
  const sizes = new Map<string, number>();
  let lastUsedMs = (await lstat(path)).mtimeMs;
  let incompleteBytes = 0;
  const count = async (file: string): Promise<number> => {
    const known = sizes.get(file);
    if (known !== undefined) return known;
    // Broken links, and files that vanish meanwhile, hold nothing.
    const found = await stat(file).catch(() => undefined);
    sizes.set(file, found?.size ?? 0);
    lastUsedMs = Math.max(lastUsedMs, found?.atimeMs ?? 0);
    return found?.size ?? 0;
  };
  for (const name of await listFolder(join(path, "blobs"))) {
    const bytes = await count(join(path, "blobs", name));
    if (name.endsWith(".incomplete")) incompleteBytes += bytes;
  }
  const refs = await readRefs(path);
  const revisions: CachedRevision[] = [];
  for (const commit of await listFolder(join(path, "snapshots"))) {
    const snapshot = join(path, "snapshots", commit);
    const blobs = new Set<string>();
    const files = await listFiles(snapshot);
    let bytes = 0;
    for (const file of files) {
      const blob = await firstHop(file);
      if (!blobs.has(blob)) bytes += await count(blob);
      blobs.add(blob);
    }
    revisions.push({ commit, path: snapshot, refs: refs.get(commit) ?? [], blobs, files: files.length, bytes });
  }
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return { repo, path, bytes, incompleteBytes, revisions, lastUsedMs };
}

/** Commit → the branches and tags that were it when last asked. */
async function readRefs(path: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const byCommit = new Map<string, string[]>();
  for (const file of await listFiles(join(path, "refs"))) {
    const commit = (await readFile(file, "utf8")).trim();
    const name = relative(join(path, "refs"), file).replaceAll(sep, "/");
    byCommit.set(commit, [...(byCommit.get(commit) ?? []), name].toSorted());
  }
  return byCommit;
}

/**
 * Where a snapshot's link leads, one step only: Python may keep blobs that are themselves links into a store shared
 * between repositories, and only the repository's own link is ours to count and to remove.
 */
async function firstHop(file: string): Promise<string> {
  const target = await readlink(file).catch(() => undefined);
  return target === undefined ? file : resolve(dirname(file), target);
}

/** All files and links under a folder, at any depth; absolute paths. */
async function listFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const name of await listFolder(folder)) {
    const path = join(folder, name);
    if ((await lstat(path)).isDirectory()) files.push(...(await listFiles(path)));
    else files.push(path);
  }
  return files;
}

/** The names in a folder, sorted; none when there is no such folder. */
async function listFolder(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => name !== ".DS_Store").toSorted();
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return [];
    return await naming(folder, "read", Promise.reject(thrown));
  }
}
