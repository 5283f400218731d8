import { read } from "bun:ffi";
import { closeSync, constants, fstatSync, lstatSync, openSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "./failure.ts";
import { openLibc } from "./libc.ts";
import { hasSameKernel, isRunning, type Owner } from "./owner.ts";

/*
 * Who writes a file or folder holds a lock on it (flock(2)), which the kernel gives back when the process ends, however it
 * ends. So on one machine, between its containers too, a lock that is free was left by a dead process.
 *
 * Some file systems of several machines give locks that other machines do not see. The names of what is locked say who
 * made it (owner.ts): there, a free lock of another kernel's process says nothing, and what it holds is nobody's to take.
 * Where there are no locks at all (Windows; file systems without them), the process id tells, for processes of the same
 * machine and container. No clocks are compared.
 */

/** From `<sys/file.h>`, on Linux and macOS. */
const LOCK_EX = 2;
const LOCK_NB = 4;
const UNKNOWN = -1;
/** errno of an `flock` that the system or the file system does not offer: EBADF, EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP. */
const WITHOUT_LOCKS: ReadonlySet<number> = new Set(
  process.platform === "darwin" ? [9, 22, 77, 78, 45, 102] : [9, 22, 37, 38, 95],
);

/** `f_type` of file systems that one kernel has for itself, from `<linux/magic.h>`. */
const LOCAL_DISKS: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0x2fc12fc1, // zfs
  0xf2f52010, // f2fs
  0xca451a4e, // bcachefs
  0x794c7630, // overlayfs
  0x01021994, // tmpfs
  0x858458f6, // ramfs
]);

/** A lock on a file or folder, which the end of the process, or `using`, gives back. It stays when that is renamed. */
export class FileLock implements Disposable {
  #descriptor: number | undefined;

  /** @param descriptor undefined where the system has no locks */
  constructor(descriptor: number | undefined) {
    this.#descriptor = descriptor;
  }

  get isReal(): boolean {
    return this.#descriptor !== undefined;
  }

  /** Is this what is locked? Another process may have removed or renamed it. */
  isAt(path: string): boolean {
    if (this.#descriptor === undefined) return true;
    const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    const mine = fstatSync(this.#descriptor, { bigint: true });
    return there !== undefined && there.ino === mine.ino && there.dev === mine.dev;
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/** Why a file or folder cannot be had: its process lives; it is gone; nobody can tell from here. */
export type Unclaimed = "held" | "gone" | "elsewhere";

const ATTEMPTS = 100;

/**
 * Makes a file or folder of this process's own and locks it.
 * @param create makes it, empty; that it is there is fine, but for a link, which would be written through
 * @returns undefined when somebody holds it
 */
export async function createLocked(path: string, create: () => Promise<unknown>): Promise<FileLock | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    await create().catch((thrown: unknown) => {
      const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
      if (systemCode(thrown) !== "EEXIST" || isLink) throw thrown;
    });
    const lock = lockNow(path);
    if (lock instanceof FileLock) return lock;
    // Somebody looked before it was locked whether it was left: that takes a moment, or has removed it.
    await Bun.sleep(1 + Math.random() * 3);
  }
  return undefined;
}

/**
 * Takes over what a dead process left: nobody else does until the lock is given back.
 * @param owner whose it is by its name; undefined: nobody's
 * @param isLocal whether no other machine writes to this disk; asked where another kernel's process made it
 */
export async function claim(
  path: string,
  owner: Owner | undefined,
  isLocal = isLocalDisk,
): Promise<FileLock | Unclaimed> {
  const lock = lockNow(path);
  if (!(lock instanceof FileLock)) return lock;
  if (owner === undefined) return lock;
  const state = lock.isReal ? await stateOfFree(path, owner, isLocal) : stateWithoutLocks(owner);
  if (state === "left") return lock;
  lock[Symbol.dispose]();
  return state;
}

async function stateOfFree(path: string, owner: Owner, isLocal: typeof isLocalDisk): Promise<"left" | "elsewhere"> {
  return hasSameKernel(owner) || (await isLocal(path)) ? "left" : "elsewhere";
}

function stateWithoutLocks(owner: Owner): "left" | "held" | "elsewhere" {
  const runs = isRunning(owner);
  if (runs === undefined) return "elsewhere";
  return runs ? "held" : "left";
}

async function isLocalDisk(path: string): Promise<boolean> {
  if (process.platform !== "linux") return false;
  const { type } = await statfs(dirname(path));
  return LOCAL_DISKS.has(type >>> 0);
}

/** Waits for nobody. The lock is not real where the system has none, or the file may not be opened. */
function lockNow(path: string): FileLock | "held" | "gone" {
  libc ??= load();
  if (libc === "none") return new FileLock(undefined);
  const descriptor = openToLock(path);
  if (typeof descriptor !== "number") return descriptor === "gone" ? "gone" : new FileLock(undefined);
  const error = libc.flock(descriptor);
  if (error !== 0) closeSync(descriptor);
  if (WITHOUT_LOCKS.has(error)) return new FileLock(undefined);
  if (error !== 0) return "held";
  const lock = new FileLock(descriptor);
  if (lock.isAt(path)) return lock;
  lock[Symbol.dispose]();
  return "gone";
}

function openToLock(path: string): number | "gone" | "closed" {
  // NFS gives exclusive locks to writers only; folders can be opened to be read alone.
  for (const flags of [constants.O_RDWR, constants.O_RDONLY]) {
    try {
      return openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (thrown) {
      if (systemCode(thrown) === "ENOENT") return "gone";
    }
  }
  return "closed";
}

interface Locks {
  /** Returns 0, or errno. */
  flock(descriptor: number): number;
}

let libc: Locks | "none" | undefined;

/** Where the C library keeps this thread's errno. */
const ERRNO = process.platform === "darwin" ? "__error" : "__errno_location";

function load(): Locks | "none" {
  const found = openLibc({ flock: { args: ["i32", "i32"], returns: "i32" } });
  const errno = openLibc({ [ERRNO]: { args: [], returns: "ptr" } })?.[ERRNO];
  if (found === undefined || errno === undefined) return "none";
  return {
    flock(descriptor) {
      if (found.flock(descriptor, LOCK_EX | LOCK_NB) === 0) return 0;
      const place = errno(); // at once, before anything else fails
      return (typeof place === "number" && read.i32(place, 0)) || UNKNOWN;
    },
  };
}
