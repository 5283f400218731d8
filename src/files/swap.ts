import { ptr } from "bun:ffi";
import { rename } from "node:fs/promises";
import { removeAll } from "./disk.ts";
import { cString, openLibc } from "./libc.ts";

// Linux: renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE). macOS: renamex_np(a, b, RENAME_SWAP).
const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;
const RENAME_SWAP = 2;

/** See {@link exchangeNames}. */
export type Exchange = (a: string, b: string) => boolean;

let loaded: Exchange | undefined;

/**
 * Exchanges what two existing names of one file system mean, in one step that nobody can see half done. `false` when
 * the system or the file system cannot do that, or when it failed: then nothing has changed.
 */
export function exchangeNames(a: string, b: string): boolean {
  loaded ??= load();
  return loaded(a, b);
}

/**
 * Puts the complete folder `part` (a name that ends in `.part`) in the place of the folder `target`, and removes what
 * was there. Without an exchange the old one is set aside as `….old.part`; killed between the two renames, nothing is
 * under `target` until the old one is brought back. On failure nothing has changed.
 */
export async function replaceFolder(part: string, target: string, exchange: Exchange = exchangeNames): Promise<void> {
  let old = part;
  if (!exchange(part, target)) {
    old = part.replace(/\.part$/, ".old.part");
    await rename(target, old);
    try {
      await rename(part, target);
    } catch (thrown) {
      await rename(old, target);
      throw thrown;
    }
  }
  // The new one is in place: what cannot be removed now, the next start removes.
  await removeAll(old).catch(() => {});
}

function load(): Exchange {
  const none: Exchange = () => false; // the caller has a slower way
  return (process.platform === "darwin" ? loadDarwin() : loadLinux()) ?? none;
}

function loadLinux(): Exchange | undefined {
  const libc = openLibc({ renameat2: { args: ["i32", "ptr", "i32", "ptr", "u32"], returns: "i32" } });
  if (libc === undefined) return undefined;
  return (a, b) => libc.renameat2(AT_FDCWD, ptr(cString(a)), AT_FDCWD, ptr(cString(b)), RENAME_EXCHANGE) === 0;
}

function loadDarwin(): Exchange | undefined {
  const libc = openLibc({ renamex_np: { args: ["ptr", "ptr", "u32"], returns: "i32" } });
  if (libc === undefined) return undefined;
  return (a, b) => libc.renamex_np(ptr(cString(a)), ptr(cString(b)), RENAME_SWAP) === 0;
}
