import { mkdir, readdir, rename, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { removeAll, syncFolder, syncTree } from "../safetensors/disk.ts";
import { fileError } from "../safetensors/failure.ts";

/**
 * Makes the folder `target` hold exactly the files that `write` puts into the empty folder it is given. They are
 * complete and on the disk before the first one takes its place; each takes it in one step. Killed or failing between two
 * of them, `target` holds files of both: the caller does it again from what is the same on the disk as before (the state).
 *
 * @throws RandloraError `file`; `target` is then as it was, or holds files of both
 */
export async function refreshFolder(target: string, write: (folder: string) => Promise<void>): Promise<void> {
  const part = `${target}.part`;
  try {
    await removeAll(part);
    await mkdir(part, { recursive: true });
    await write(part);
    await syncTree(part, "folder");
    await mkdir(target, { recursive: true });
    const files = await readdir(part);
    for (const name of files) await rename(join(part, name), join(target, name));
    const old = (await readdir(target)).filter((name) => !files.includes(name));
    for (const name of old) await removeAll(join(target, name));
    await rmdir(part);
    await syncFolder(target);
    await syncFolder(dirname(target));
  } catch (thrown) {
    await removeAll(part).catch(() => {});
    throw fileError(thrown, target, "write");
  }
}
