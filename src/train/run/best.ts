import { copyFile, link, mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { found, removeAll, syncTree } from "../../files/disk.ts";
import { fileError } from "../../files/failure.ts";
import { ownerName, self } from "../../files/owner.ts";
import { refreshFolder } from "./run-folder.ts";

/*
 * Whether the weights of a step are good the next step's loss tells. Until then, the state of a step that is the best so
 * far holds the best from before it, as links: where the step is taken back, so is `best/`.
 */
const BEFORE = "best-before";

/** Puts what `best` holds now into the state's folder, unless that has it. @throws RandloraError `file` */
export async function setBestAside(state: string, best: string): Promise<void> {
  const before = join(state, BEFORE);
  if ((await found(before)) !== undefined || (await found(best)) === undefined) return;
  const part = `${before}.part`;
  try {
    await removeAll(part);
    await linkTree(best, part);
    await syncTree(part, "folder");
    await rename(part, before);
  } catch (thrown) {
    throw fileError(thrown, before, "write");
  }
}

/** Makes `best` what it was before the state's step: gone, where there was none. @throws RandloraError `file` */
export async function bringBestBack(state: string, best: string): Promise<void> {
  const before = join(state, BEFORE);
  if ((await found(before)) !== undefined) {
    await refreshFolder(best, (folder) => linkTree(before, folder));
    return;
  }
  if ((await found(best)) === undefined) return;
  // Gone in one step; what cannot be removed now, the next start removes.
  const part = `${best}.${ownerName(self())}.part`;
  try {
    await rename(best, part);
  } catch (thrown) {
    throw fileError(thrown, best, "write");
  }
  await removeAll(part).catch(() => {});
}

/** The state's step is good: what was before it is needed no more. */
export async function forgetBestBefore(state: string): Promise<void> {
  await removeAll(join(state, BEFORE));
}

/** The same files under other names; copies, where the file system has no links. */
async function linkTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else await link(source, target).catch(() => copyFile(source, target));
  }
}
