import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { strangeAnswer } from "./failure.ts";
import { type Connection, type JsonAnswer, MAX_RETRIES, question } from "./http.ts";
import { writeWhole } from "../whole-file.ts";
import type { RepositoryFolder } from "./layout.ts";
import { type HubName, isCommit } from "./name.ts";

/** One file of a commit. */
export interface TreeFile {
  /** Path in the repository, with slashes. */
  readonly path: string;
  readonly size: number;
  /** Git's object id: for a small file the SHA-1 of `blob <size>\0<bytes>`, for a large one that of its LFS pointer. */
  readonly oid: string;
  /** The content's SHA-256, known for large files only. */
  readonly sha256: string | undefined;
  /** Kept for Python, which downloads by it. */
  readonly xetHash: string | undefined;
}

/** The files of a commit by path. */
export type Tree = ReadonlyMap<string, TreeFile>;

/** The content's name in the cache, which is the ETag that Python goes by. */
export function etagOf(file: TreeFile): string {
  return file.sha256 ?? file.oid;
}

/**
 * Asks the Hub which commit a branch or a tag is now.
 *
 * @param retries 0 when a cached copy makes it pointless to insist
 * @throws {HubFailure}
 */
export async function askCommit(connection: Connection, name: HubName, retries = MAX_RETRIES): Promise<string> {
  const { repo, revision } = name;
  const ask = question(connection, name, retries);
  const { json } = await ask(`${api(connection, repo)}/revision/${encodeURIComponent(revision)}?expand=sha`);
  const { success, output } = v.safeParse(v.object({ sha: v.string() }), json);
  if (success && isCommit(output.sha)) return output.sha;
  throw strangeAnswer(`no commit of ${repo} at ${JSON.stringify(revision)}`, connection.settings);
}

/** The files of a commit: from the cache, where Python may have put the list, else from the Hub. */
export async function askTree(connection: Connection, folder: RepositoryFolder, commit: string): Promise<Tree> {
  const known = await readTree(folder, commit);
  if (known !== undefined) return known;
  const { repo } = folder;
  const ask = question(connection, { repo, revision: commit });
  const tree = new Map<string, TreeFile>();
  for (let url: string | undefined = `${api(connection, repo)}/tree/${commit}?recursive=true`; url !== undefined;) {
    const page: JsonAnswer = await ask(url);
    const entries = v.safeParse(ENTRIES, page.json);
    if (!entries.success) throw strangeAnswer(`no list of the files of ${repo}`, connection.settings);
    for (const { type, path, size, oid, lfs, xetHash } of entries.output) {
      if (type !== "file") continue;
      const file = parseFile(path, { size, blob_id: oid, lfs_sha256: lfs?.oid, xet_hash: xetHash });
      if (file === undefined) throw strangeAnswer(`${path} has no valid hash`, connection.settings);
      tree.set(path, file);
    }
    url = page.next;
  }
  // A convenience for the next time: a cache that may only be read can hold all files without it.
  await writeWhole(folder.tree(commit), formatTree(tree)).catch(() => undefined);
  return tree;
}

/** The list of a commit's files that this program or Python left in the cache; undefined when there is none (valid). */
export async function readTree(folder: RepositoryFolder, commit: string): Promise<Tree | undefined> {
  try {
    const { files } = v.parse(TREE, JSON.parse(await readFile(folder.tree(commit), "utf8")));
    return new Map(Object.entries(files).map(([path, file]) => [path, fromCache(path, file)]));
  } catch {
    return undefined;
  }
}

// Hashes become file names in the cache: nothing but hexadecimal digits may pass.
const SHA1 = v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/));
const SHA256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const FILE = v.object({
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  blob_id: SHA1,
  lfs_sha256: v.optional(SHA256),
  xet_hash: v.optional(SHA256),
});
/** A page of a tree: paths with their hashes. */
const ENTRIES = v.array(
  v.object({
    type: v.string(),
    path: v.string(),
    size: v.optional(v.number()),
    oid: v.optional(v.string()),
    lfs: v.optional(v.object({ oid: v.string() })),
    xetHash: v.optional(v.string()),
  }),
);
const TREE = v.object({ format_version: v.literal(1), files: v.record(v.string(), FILE) });

function parseFile(path: string, raw: unknown): TreeFile | undefined {
  const parsed = v.safeParse(FILE, raw);
  return parsed.success ? fromCache(path, parsed.output) : undefined;
}

function fromCache(path: string, file: v.InferOutput<typeof FILE>): TreeFile {
  return { path, size: file.size, oid: file.blob_id, sha256: file.lfs_sha256, xetHash: file.xet_hash };
}

/** The format of huggingface_hub's `_tree_cache.py`, version 1. */
function formatTree(tree: Tree): string {
  const paths = [...tree.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const files = paths.map((file) => [
    file.path,
    {
      size: file.size,
      blob_id: file.oid,
      ...(file.sha256 !== undefined && { lfs_sha256: file.sha256, lfs_size: file.size }),
      ...(file.xetHash !== undefined && { xet_hash: file.xetHash }),
    },
  ]);
  return JSON.stringify({ format_version: 1, files: Object.fromEntries(files) }, undefined, 1);
}

/** Where the Hub tells of a repository (https://huggingface.co/docs/hub/api). */
function api({ settings }: Connection, repo: string): string {
  return `${settings.endpoint}/api/models/${repo}`;
}
