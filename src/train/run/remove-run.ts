import { readdir, rmdir } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { found, removeAll } from "../../files/disk.ts";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { METRICS_FILE, SETTINGS_FILE, TABLE_FILE } from "../../files/run-names.ts";
import { type FoundRun, readRunFolder } from "./find-runs.ts";
import { isLock, lockFolder } from "./lock.ts";

/** What finetune writes into a run's folder. */
const OWN = new Set([SETTINGS_FILE, METRICS_FILE, TABLE_FILE, "adapter", "best", "model", "state", "loss.svg"]);
/** What a killed process left has the name of what it wrote, and an end. */
const LEFT = /^(.+?)(?:\.[\da-f-]+)?(?:\.old)?\.(?:part|tmp)$/;
const isOwn = (name: string) => OWN.has(LEFT.exec(name)?.[1] ?? name) || isLock(name);

/**
 * A folder as a run that may be removed.
 * @throws RandloraError `file` for what is no run, holds other files, or is where the process works
 */
export async function removableRun(path: string): Promise<FoundRun> {
  const shown = oneLine(path);
  const isFolder = (await found(path))?.isDirectory() === true;
  const run = isFolder ? await readRunFolder(path) : undefined;
  if (run === undefined) {
    const cause = isFolder ? `no ${SETTINGS_FILE} of a run in it` : "no folder of that name";
    throw new RandloraError("file", `${shown}: not a run: ${cause}`, "`randlora runs list` shows the runs here");
  }
  if (`${process.cwd()}${sep}`.startsWith(`${resolve(path)}${sep}`)) {
    throw new RandloraError("file", `${shown}: the current folder is in it`, "go to another folder");
  }
  const other = (await naming(path, "read", readdir(path))).find((name) => !isOwn(name));
  if (other !== undefined) {
    const cause = `${shown}: it holds ${oneLine(other)}, which no run writes`;
    throw new RandloraError("file", cause, "move that elsewhere, or remove the folder by hand");
  }
  return run;
}

/**
 * Removes a run that {@link removableRun} found. What is left by a removal that is cut off can be removed again.
 * @throws RandloraError `file` where a process trains into it, or a file cannot be removed
 */
export async function removeRun({ path }: FoundRun): Promise<void> {
  const unlock = await lockFolder(path);
  try {
    const names = (await naming(path, "read", readdir(path))).filter((name) => isOwn(name) && !isLock(name));
    // What makes it a run goes last.
    for (const name of names.toSorted((a, b) => Number(a === SETTINGS_FILE) - Number(b === SETTINGS_FILE))) {
      await naming(join(path, name), "write", removeAll(join(path, name)));
    }
  } finally {
    await unlock();
  }
  await naming(path, "write", rmdir(path));
}
