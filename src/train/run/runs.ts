import { lstat, open, readdir, rmdir, stat } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { found, removeAll } from "../../files/disk.ts";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { readJsonObject } from "../../files/read-text.ts";
import { METRICS_FILE, SETTINGS_FILE, TABLE_FILE } from "../../files/run-names.ts";
import { newestState, type Progress } from "../../models/folder/run-states.ts";
import { isLock, isTrainedInto, lockFolder } from "./lock.ts";

/** What a run's folder says of it. */
export interface FoundRun {
  /** Its folder. */
  readonly path: string;
  readonly model: string;
  readonly method: string;
  /** A process trains into it; its training state is the last one; neither. */
  readonly state: "running" | "done" | "interrupted";
  /** Those of its newest state, where a resume starts; while it is running, those that were measured. */
  readonly steps: number;
  /** Of the whole run; undefined before its first save, where its data decide. */
  readonly plannedSteps: number | undefined;
  readonly bestValidLoss: number | undefined;
  /** Of all its files. */
  readonly bytes: number;
  /** When it was written to last, in milliseconds since 1970. */
  readonly updatedMs: number;
}

/** `finetune` writes runs/NAME, `compare` DIR/runs/NAME: runs are looked for so many folders below one. */
const DEPTH = 3;
/** Folders that are looked into: a home folder has too many. */
const MOST_FOLDERS = 10_000;

/**
 * The runs in a folder and below it, by path. Links are not followed, runs not looked into.
 * @throws RandloraError `file` where the folder cannot be read
 */
export async function findRuns(folder: string): Promise<{ runs: FoundRun[]; isComplete: boolean }> {
  const runs: FoundRun[] = [];
  await naming(folder, "read", readdir(folder));
  let level = [folder];
  let left = MOST_FOLDERS;
  for (let depth = 0; depth <= DEPTH && left > 0; depth++) {
    const below: string[] = [];
    for (const path of level.slice(0, left)) {
      left--;
      const run = await readRunFolder(path);
      if (run !== undefined) runs.push(run);
      else if (depth < DEPTH) below.push(...(await foldersIn(path)));
    }
    level = below;
  }
  return { runs: runs.toSorted((a, b) => (a.path < b.path ? -1 : 1)), isComplete: left > 0 };
}

/** @returns undefined for a folder that is no run, or cannot be read */
export async function readRunFolder(path: string): Promise<FoundRun | undefined> {
  const settings = await readJsonObject(join(path, SETTINGS_FILE)).catch(() => undefined);
  const { model, method, steps: asked, early_stop: earlyStop } = settings ?? {};
  if (typeof model !== "string" || typeof method !== "string") return undefined;
  const progress = (await newestState(join(path, "state")).catch(() => undefined))?.progress;
  const plannedSteps = progress?.steps ?? (typeof asked === "number" ? asked : undefined);
  const { bytes, updatedMs } = await sizeOf(path);
  const isRunning = await isTrainedInto(path);
  const saved = progress?.step ?? 0;
  return {
    path,
    model,
    method,
    state: isRunning ? "running" : isOver(progress, plannedSteps, earlyStop) ? "done" : "interrupted",
    steps: isRunning ? Math.max(saved, await lastStep(join(path, METRICS_FILE))) : saved,
    plannedSteps,
    bestValidLoss: progress?.best?.validLoss,
    bytes,
    // File systems keep times that no date has.
    updatedMs: Math.min(updatedMs, 8.64e15),
  };
}

function isOver(progress: Progress | undefined, steps: number | undefined, earlyStop: unknown): boolean {
  if (progress === undefined) return false;
  const isStuck = typeof earlyStop === "number" && earlyStop > 0 && progress.evaluationsSinceBest >= earlyStop;
  return isStuck || (steps !== undefined && progress.step >= steps);
}

/** The step of the last whole line. A line has less than a thousand bytes. */
async function lastStep(file: string): Promise<number> {
  // Opening a pipe would wait for ever.
  const found = await stat(file).catch(() => undefined);
  await using handle = found?.isFile() === true ? await open(file, "r").catch(() => undefined) : undefined;
  if (found === undefined || handle === undefined) return 0;
  const { size } = found;
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, Math.max(0, size - 4096));
  const last = [...buffer.toString("utf8", 0, bytesRead).matchAll(/^\{"step":(\d{1,15}),.*\}$/gm)].at(-1);
  return Number(last?.[1] ?? 0);
}

async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && entry.name !== "node_modules")
    .map(({ name }) => join(path, name));
}

/** Of all files, each once however many names it has. */
async function sizeOf(folder: string): Promise<{ bytes: number; updatedMs: number }> {
  const sizes = new Map<string, number>();
  let updatedMs = 0;
  // A recursive readdir of Bun follows links.
  const folders = [folder];
  for (let path = folders.pop(); path !== undefined; path = folders.pop()) {
    for (const name of await readdir(path).catch((): string[] => [])) {
      const found = isLock(name) ? undefined : await lstat(join(path, name)).catch(() => undefined);
      if (found === undefined) continue;
      updatedMs = Math.max(updatedMs, found.mtimeMs);
      if (found.isFile()) sizes.set(`${found.dev}-${found.ino}`, found.size);
      if (found.isDirectory()) folders.push(join(path, name));
    }
  }
  return { bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0), updatedMs };
}

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
