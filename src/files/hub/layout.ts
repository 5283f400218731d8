import { existsSync } from "node:fs";
import { mkdir, readFile, readlink, rename, rm, symlink, writeFile, copyFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { naming, systemCode } from "../failure.ts";
import { besides, writeWhole } from "../whole-file.ts";
import { isCommit } from "./name.ts";

/*
 * The cache as Python's huggingface_hub lays it out (its docs, "Understand caching"), so that either program finds what
 * the other has fetched:
 *
 *   models--org--name/
 *     blobs/<sha256 or git's sha1>      the bytes, once
 *     snapshots/<commit>/<path>         symbolic links into blobs
 *     refs/<branch or tag>              the commit it was when last asked, 40 characters
 *     trees/<commit>.json               what the commit holds
 */

/** Tells backup programs to pass the cache by (the Cache Directory Tagging Specification; Python writes it too). */
const CACHE_TAG = `Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag. For information about cache directory tags see https://bford.info/cachedir/
`;

/** The folder of one model repository. */
export class RepositoryFolder {
  readonly path: string;

  constructor(
    readonly cacheDir: string,
    readonly repo: string,
  ) {
    this.path = join(cacheDir, `models--${repo.replace("/", "--")}`);
  }

  snapshot(commit: string): string {
    return join(this.path, "snapshots", commit);
  }

  /** `etag` is what the Hub calls the content: the SHA-256 of large files, git's SHA-1 of small ones. */
  blob(etag: string): string {
    return join(this.path, "blobs", etag);
  }

  tree(commit: string): string {
    return join(this.path, "trees", `${commit}.json`);
  }

  /** The commit that a branch or a tag was when last asked, or a commit itself; undefined when never asked. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    try {
      const text = (await readFile(join(this.path, "refs", revision), "utf8")).trim();
      return isCommit(text) ? text : undefined;
    } catch {
      return undefined;
    }
  }

  /** Remembers which commit a branch or a tag is. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    // No newline: Python compares the file's whole text.
    await writeWhole(join(this.path, "refs", revision), commit);
  }

  /** Makes the folders for a download and marks the cache as one. */
  async prepare(): Promise<void> {
    const blobs = join(this.path, "blobs");
    await naming(blobs, "write", mkdir(blobs, { recursive: true }));
    const tag = join(this.cacheDir, "CACHEDIR.TAG");
    // Of no consequence for us, so a cache that others own may stay without it.
    if (!existsSync(tag)) await writeFile(tag, CACHE_TAG, { flag: "wx" }).catch(() => undefined);
  }
}

/**
 * Lets `pointer` in a snapshot stand for `blob`: a relative symbolic link, replaced in one step. Where links cannot be
 * made (Windows without developer mode, some network disks) or are unwanted, the snapshot gets the file itself, moved
 * when `fresh` (nothing else can refer to it yet), else copied: what Python does.
 */
export async function placePointer(
  pointer: string,
  blob: string,
  options: { readonly fresh: boolean; readonly symlinks: boolean },
): Promise<void> {
  await naming(pointer, "write", mkdir(dirname(pointer), { recursive: true }));
  const target = relative(dirname(pointer), blob);
  if ((await readlink(pointer).catch(() => undefined)) === target && existsSync(pointer)) return;
  const temporary = besides(pointer);
  try {
    if (!options.symlinks || !(await linked(target, temporary))) {
      const move = options.fresh ? rename(blob, temporary) : copyFile(blob, temporary);
      await naming(pointer, "write", move);
    }
    await naming(pointer, "write", rename(temporary, pointer));
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Makes a symbolic link; false where this system or disk has none. */
async function linked(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path, "file");
    return true;
  } catch (thrown) {
    if (["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "EISDIR"].includes(systemCode(thrown) ?? ""))
      return false;
    return await naming(path, "write", Promise.reject(thrown));
  }
}
