import { readdir, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { claim, createLocked } from "../../files/lock.ts";
import { describeOwner, type Owner, ownerName, parseOwner, self } from "../../files/owner.ts";

/**
 * Takes a run folder for this process: a file `lock.PLACE-PID-START` in it, which is locked. It is made first and others
 * are looked for then, so that of two processes at least one sees the other; what dead processes left is removed.
 *
 * @param instead of waiting, what else there is to do, for the hint: ", or …"
 * @returns gives the folder back
 * @throws RandloraError `file` when another process trains into it
 */
export async function lockFolder(folder: string, instead = ""): Promise<() => Promise<void>> {
  const own = `lock.${ownerName(self())}`;
  const path = join(folder, own);
  const lock = await naming(
    path,
    "write",
    createLocked(path, () => writeFile(path, "", { flag: "wx" })),
  );
  if (lock === undefined) throw isTaken(folder, self(), instead);
  const unlock = async () => {
    await unlink(path).catch(() => {});
    lock[Symbol.dispose]();
  };
  try {
    for (const name of await naming(folder, "read", readdir(folder))) {
      const owner = lockOwner(name);
      if (owner !== undefined && name !== own) await removeLeft(folder, join(folder, name), owner, instead);
    }
    return unlock;
  } catch (thrown) {
    await unlock();
    throw thrown;
  }
}

/** Is it the name of a file that {@link lockFolder} makes? */
export function isLock(name: string): boolean {
  return lockOwner(name) !== undefined;
}

/** Does a process train into the folder, as far as can be told from here? Of a lock from elsewhere it is taken to. */
export async function isTrainedInto(folder: string): Promise<boolean> {
  for (const name of await naming(folder, "read", readdir(folder))) {
    const owner = lockOwner(name);
    if (owner === undefined) continue;
    const left = await claim(join(folder, name), owner);
    if (left === "held" || left === "elsewhere") return true;
    if (left !== "gone") left[Symbol.dispose]();
  }
  return false;
}

function lockOwner(name: string): Owner | undefined {
  return name.startsWith("lock.") ? parseOwner(name.slice("lock.".length)) : undefined;
}

/** Removes the lock of a dead process. */
async function removeLeft(folder: string, path: string, owner: Owner, instead: string): Promise<void> {
  const left = await claim(path, owner);
  if (left === "gone") return;
  if (left === "held") throw isTaken(folder, owner, instead);
  if (left === "elsewhere") throw isTaken(folder, owner, `${instead}; if that has ended, remove ${oneLine(path)}`);
  using _ = left;
  await unlink(path).catch(() => {});
}

function isTaken(folder: string, owner: Owner, otherwise: string): RandloraError {
  const cause = `${describeOwner(owner)} trains into it`;
  return new RandloraError("file", `${oneLine(folder)}: ${cause}`, `wait for it, or end it${otherwise}`);
}
