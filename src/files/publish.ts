import { link, mkdir, open, readdir, realpath, rename, rmdir, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { RandloraError } from "./errors.ts";
import { found, removeAll, syncFolder, syncTree } from "./disk.ts";
import { fileError, naming, oneLine, systemCode } from "./failure.ts";
import { claim, createLocked, type FileLock } from "./lock.ts";
import { describeOwner, type Owner, ownerName, parseOwner, self } from "./owner.ts";
import { checkTarget, existing, isInside, type PublicationOptions, refusal } from "./publish-check.ts";
import { replaceFolder } from "./swap.ts";

export type { PublicationOptions } from "./publish-check.ts";

/**
 * An output that appears under its name only when it is complete. Until {@link commit} everything is written to
 * {@link partPath}, `NAME.PLACE-PID-START.part` beside the output; what a killed process left there is removed by the next
 * one that writes the same output, what a running one writes is left alone. A process killed at any moment leaves under
 * the output's name what was there before, or the complete new output. (Where the system cannot exchange two names, a
 * replaced folder is for one moment under neither; the next {@link begin} brings it back.)
 *
 * Use with `await using`: leaving the scope without `commit` aborts.
 */
export class Publication implements AsyncDisposable {
  readonly kind: "file" | "folder";
  /** Absolute path of the output; where a symbolic link was named, what it points to. */
  readonly target: string;
  /** Where to write: an empty file (open it with "w") or an empty folder. */
  readonly partPath: string;
  readonly #force: boolean;
  readonly #alike: boolean;
  readonly #createdFolder: string | undefined;
  readonly #lock: FileLock;
  #state: "writing" | "committing" | "done" = "writing";

  private constructor(
    target: string,
    options: PublicationOptions,
    partPath: string,
    lock: FileLock,
    createdFolder: string | undefined,
  ) {
    this.kind = options.kind;
    this.target = target;
    this.partPath = partPath;
    this.#force = options.force ?? false;
    this.#alike = options.alike ?? false;
    this.#createdFolder = createdFolder;
    this.#lock = lock;
  }

  /**
   * Checks everything that can be known before the work: throws `RandloraError` "file" when `path` exists (without
   * `force`), is of the other kind, is or holds an input, lies below a file, cannot be written, or is being written by
   * another process. Creates the folders above `path`, and removes what a dead process left.
   */
  static async begin(path: string, options: PublicationOptions): Promise<Publication> {
    const target = await realTarget(path);
    await removeLeftovers(target, options.alike);
    await checkTarget(target, options);
    const parent = dirname(target);
    const created = await naming(parent, "write", mkdir(parent, { recursive: true }));
    const part = `${target}.${ownerName(self())}.part`;
    try {
      const create = () => (options.kind === "folder" ? mkdir(part) : createEmpty(part));
      const lock = await naming(part, "write", createLocked(part, create));
      if (lock === undefined) throw isWritten(target, self());
      return new Publication(target, options, part, lock, created);
    } catch (thrown) {
      await removeEmptyFolders(parent, created);
      throw thrown;
    }
  }

  /**
   * Makes the output appear: data on the disk first, then the name. Throws `RandloraError` "file"; then the part is
   * gone and what was under the name is still there.
   */
  async commit(): Promise<void> {
    if (this.#state !== "writing") throw new Error(`${this.target} was already committed or aborted`);
    this.#state = "committing";
    try {
      await syncTree(this.partPath, this.kind);
      if (this.kind === "file") await this.#commitFile();
      else await this.#commitFolder();
      await syncFolder(dirname(this.target));
      this.#state = "done";
      this.#lock[Symbol.dispose]();
    } catch (thrown) {
      this.#state = "writing";
      await this.abort().catch(() => {}); // what stays, the next start removes: the cause matters
      throw fileError(thrown, this.target, "write");
    }
  }

  /** Removes what was written. Does nothing after, or during, {@link commit}. */
  async abort(): Promise<void> {
    if (this.#state !== "writing") return;
    this.#state = "done";
    try {
      await removeAll(this.partPath);
    } finally {
      this.#lock[Symbol.dispose]();
    }
    await removeEmptyFolders(dirname(this.target), this.#createdFolder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  async #commitFile(): Promise<void> {
    if (this.#force) {
      await rename(this.partPath, this.target);
      return;
    }
    try {
      // Unlike rename, link never replaces what has appeared meanwhile.
      await link(this.partPath, this.target);
    } catch (thrown) {
      // Not EEXIST: a file system without hard links.
      if (systemCode(thrown) === "EEXIST" || (await exists(this.target))) return await this.#isThere();
      await rename(this.partPath, this.target);
      return;
    }
    // The output is there: what cannot be removed now, the next start removes.
    await unlink(this.partPath).catch(() => {});
  }

  async #commitFolder(): Promise<void> {
    if (!(await exists(this.target))) {
      await rename(this.partPath, this.target);
      return;
    }
    if (!this.#force) return await this.#isThere();
    await replaceFolder(this.partPath, this.target);
  }

  /** The output is another process's: the same, or one that must not be replaced. */
  async #isThere(): Promise<void> {
    if (!this.#alike) throw existing(this.target);
    await removeAll(this.partPath);
  }
}

/** The absolute path to write to: through symbolic links as far as the path exists. */
async function realTarget(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch (thrown) {
    const code = systemCode(thrown);
    const parent = dirname(absolute);
    if (code !== "ENOENT" || parent === absolute) throw fileError(thrown, path, "write");
    return join(await realTarget(parent), basename(absolute));
  }
}

/**
 * Removes what dead processes left of an output, and brings an old output back that one had set aside.
 * @param target absolute, without symbolic links
 * @param alike what other processes write, or may be writing, is left alone
 * @throws RandloraError `file` when another process is writing it
 */
export async function removeLeftovers(target: string, alike = false): Promise<void> {
  const parent = dirname(target);
  let names: string[];
  try {
    names = await readdir(parent);
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return;
    throw fileError(thrown, parent, "write");
  }
  const prefix = `${basename(target)}.`;
  using claimed = new DisposableStack();
  const left: { path: string; isOld: boolean }[] = [];
  for (const name of names) {
    const match = name.startsWith(prefix) ? /^([\da-f-]+)(\.old)?\.part$/.exec(name.slice(prefix.length)) : null;
    const owner = parseOwner(match?.[1] ?? "");
    if (match === null || owner === undefined) continue;
    const path = join(parent, name);
    const lock = await claim(path, owner);
    if (lock === "gone" || (alike && typeof lock === "string")) continue;
    if (lock === "held") throw isWritten(target, owner);
    if (lock === "elsewhere") throw isWritten(target, owner, `; if that has ended, remove ${oneLine(path)}`);
    claimed.use(lock);
    left.push({ path, isOld: match[2] !== undefined });
  }
  // All are claimed before one is touched: what stands aside may be of a process that is putting the new one in place.
  for (const { path, isOld } of left) {
    if (isOld && !(await exists(target))) await naming(path, "write", rename(path, target));
    else await naming(path, "write", removeAll(path));
  }
}

function isWritten(target: string, owner: Owner, otherwise = ""): RandloraError {
  return refusal(target, `${describeOwner(owner)} is writing it`, `wait for it, or end it${otherwise}`);
}

async function createEmpty(path: string): Promise<void> {
  await (await open(path, "wx")).close();
}

/** Removes `folder` and those above it up to `first`, as far as they are empty. */
async function removeEmptyFolders(folder: string, first: string | undefined): Promise<void> {
  if (first === undefined) return;
  try {
    for (let path = folder; path === first || isInside(path, first); path = dirname(path)) await rmdir(path);
  } catch {
    // Somebody put something there: it stays.
  }
}

async function exists(path: string): Promise<boolean> {
  return (await found(path)) !== undefined;
}
