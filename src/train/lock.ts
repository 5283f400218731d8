import { readdir, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../errors.ts";
import { naming, oneLine } from "../safetensors/failure.ts";
import { isAlive, self } from "../safetensors/owner.ts";

/**
 * Takes a run folder for this process: a file `lock.PID-START` in it. It is made first and others are looked for then,
 * so that of two processes at least one sees the other; what dead processes left is removed.
 *
 * @returns gives the folder back
 * @throws RandloraError `file` when another process trains into it
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const { pid, start } = self();
  const own = `lock.${pid}-${start}`;
  const path = join(folder, own);
  await naming(path, "write", writeFile(path, ""));
  const unlock = () => unlink(path).catch(() => {});
  for (const name of await naming(folder, "read", readdir(folder))) {
    const [, otherPid, otherStart] = /^lock\.(\d+)-(\d+)$/.exec(name) ?? [];
    if (otherPid === undefined || name === own) continue;
    if (isAlive({ pid: Number(otherPid), start: Number(otherStart) })) {
      await unlock();
      const cause = `process ${otherPid} trains into it`;
      throw new RandloraError("file", `${oneLine(folder)}: ${cause}`, "wait for it, end it, or name another --out");
    }
    await unlink(join(folder, name)).catch(() => {});
  }
  return unlock;
}
