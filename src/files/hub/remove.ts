import { lstat, rm } from "node:fs/promises";
import { basename, join, sep } from "node:path";
import { RandloraError } from "../errors.ts";
import { naming } from "../failure.ts";
import { formatHubName } from "./name.ts";
import type { CachedRepository, CachedRevision } from "./scan.ts";

/** What a removal did. */
export interface Removal {
  readonly repo: string;
  /** Commits that are gone. */
  readonly commits: readonly string[];
  /** Bytes that nothing refers to any more. */
  readonly bytes: number;
  /** Whether the repository went as a whole. */
  readonly whole: boolean;
}

/**
 * Removes a repository from the cache, or one revision of it (a branch, a tag, a commit or the beginning of one) with the
 * blobs that no other revision uses. A removal that is cut off leaves what is left usable and removable.
 *
 * @param revision undefined for the whole repository
 * @throws RandloraError "file" when there is no such revision, or a file cannot be removed
 */
export async function removeCached(repository: CachedRepository, revision: string | undefined): Promise<Removal> {
  if (revision === undefined) return await removeWhole(repository);
  const doomed = findRevision(repository, revision);
  const others = repository.revisions.filter((other) => other !== doomed);
  if (others.length === 0) return await removeWhole(repository);

  const used = new Set(others.flatMap((other) => [...other.blobs]));
  const freed = [...doomed.blobs].filter((blob) => !used.has(blob) && blob.startsWith(repository.path + sep));
  let bytes = 0;
  for (const blob of freed) bytes += await sizeOf(blob);
  // Names first, then the links, then the bytes, the list of files last: a half-removed snapshot does not pass for whole.
  for (const ref of doomed.refs) await remove(join(repository.path, "refs", ...ref.split("/")));
  await remove(doomed.path);
  for (const blob of freed) await remove(blob);
  await remove(join(repository.path, ".no_exist", doomed.commit));
  await remove(join(repository.path, "trees", `${doomed.commit}.json`));
  return { repo: repository.repo, commits: [doomed.commit], bytes, whole: false };
}

async function removeWhole({ repo, path, bytes, revisions }: CachedRepository): Promise<Removal> {
  for (const part of ["refs", "snapshots"]) await remove(join(path, part));
  await remove(path);
  // Python's lock files; what is in use there is only a hint for it, never a guard of ours.
  await remove(join(path, "..", ".locks", basename(path)));
  return { repo, commits: revisions.map(({ commit }) => commit), bytes, whole: true };
}

function findRevision(repository: CachedRepository, revision: string): CachedRevision {
  const { revisions, repo } = repository;
  const named = revisions.find(({ commit, refs }) => commit === revision || refs.includes(revision));
  if (named !== undefined) return named;
  const begun = /^[0-9a-f]{4,40}$/.test(revision) ? revisions.filter(({ commit }) => commit.startsWith(revision)) : [];
  const [only, ...more] = begun;
  if (only !== undefined && more.length === 0) return only;
  const known = revisions.flatMap(({ commit, refs }) => [...refs, commit.slice(0, 7)]).join(", ");
  const problem = only === undefined ? "is not in the cache" : "begins more than one commit in the cache";
  const hint = `cached revisions of ${repo}: ${known === "" ? "none" : known}`;
  throw new RandloraError("file", `${formatHubName({ repo, revision })} ${problem}`, hint);
}

/** What removing the file gives back; a blob that is itself a link (into Python's shared store) gives back next to nothing. */
async function sizeOf(path: string): Promise<number> {
  return (await lstat(path).catch(() => undefined))?.size ?? 0;
}

async function remove(path: string): Promise<void> {
  await naming(path, "write", rm(path, { recursive: true, force: true, maxRetries: 3 }));
}
