import { readdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../errors.ts";
import { naming, oneLine } from "../safetensors/failure.ts";
import { describeOwner, ifKilled, isAlive, keepAlive, ownerName, parseOwner, self } from "../safetensors/owner.ts";

/**
 * Takes a run folder for this process: a file `lock.PLACE-PID-START` in it. It is made first and others are looked for then,
 * so that of two processes at least one sees the other; what dead processes left is removed.
 *
 * @returns gives the folder back
 * @throws RandloraError `file` when another process trains into it
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const own = `lock.${ownerName(self())}`;
  const path = join(folder, own);
  await naming(path, "write", writeFile(path, ""));
  const endBeats = keepAlive(path);
  const unlock = () => {
    endBeats();
    return unlink(path).catch(() => {});
  };
  for (const name of await naming(folder, "read", readdir(folder))) {
    const owner = name.startsWith("lock.") && name !== own ? parseOwner(name.slice("lock.".length)) : undefined;
    if (owner === undefined) continue;
    const other = join(folder, name);
    const found = await stat(other).catch(() => undefined);
    if (found !== undefined && isAlive(owner, found.mtimeMs)) {
      await unlock();
      const cause = `${describeOwner(owner)} trains into it`;
      const hint = `wait for it, end it, or name another --out${ifKilled(owner)}`;
      throw new RandloraError("file", `${oneLine(folder)}: ${cause}`, hint);
    }
    await unlink(other).catch(() => {});
  }
  return unlock;
}
