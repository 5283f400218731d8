import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { removeAll } from "../../files/disk.ts";
import { replaceSynced } from "../../files/whole-file.ts";
import { fileError, naming, oneLine, shellWord, systemCode } from "../../files/failure.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import { Publication, removeLeftovers } from "../../files/publish.ts";
import type { TrainingDefinition } from "../../adapters/method/method.ts";
import { RUNS } from "../../files/hub/name.ts";
import { readRunFolder } from "./runs.ts";
import { lockFolder } from "./lock.ts";
import { METRICS_FILE, SETTINGS_FILE, TABLE_FILE } from "../../files/run-names.ts";
import { formatSettings, parseTrainSettings, type TrainSettings } from "../settings/settings.ts";
import { refuseMistyped } from "../../models/folder/local-path.ts";
import { newestState } from "../../models/folder/run-states.ts";

/** A run's folder, which only this process trains into until it is disposed. */
export class RunFolder implements AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  readonly #unlock: () => Promise<void>;
  readonly #made: string | undefined;

  /** @param made the topmost folder that was made for it, undefined where it was there */
  private constructor(path: string, unlock: () => Promise<void>, made: string | undefined) {
    this.path = path;
    this.#unlock = unlock;
    this.#made = made;
  }

  /**
   * Makes a new run's folder: `out`, which must not exist or be empty, or the next free `runs/<model>-<method>-<number>`.
   * @throws RandloraError `file`
   */
  static async create(out: string | undefined, settings: TrainSettings): Promise<RunFolder> {
    const { path, made } = out === undefined ? await numbered(settings) : await emptyFolder(resolve(out));
    const folder = new RunFolder(path, await lockFolder(path, ", or name another --out"), made);
    try {
      // Another run may have come and gone before the lock was taken.
      if (out !== undefined) await requireEmpty(path);
      await folder.writeSettings(settings);
      return folder;
    } catch (thrown) {
      await folder[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** The folder of a run that another process has made, and that this one takes part in: it locks and removes nothing. */
  static shared(path: string): RunFolder {
    return new RunFolder(resolve(path), async () => {}, undefined);
  }

  /**
   * Opens a run to go on with.
   * @param isOwner false: another process does, and this one takes part in it
   * @throws RandloraError `file`, `format`
   */
  static async open(path: string, isOwner = true): Promise<{ folder: RunFolder; settings: TrainSettings }> {
    const absolute = resolve(path);
    const file = join(absolute, SETTINGS_FILE);
    const json = await readJson(file, MAX_SETTINGS_BYTES, "the file was changed: start a new run").catch(
      (thrown: unknown) => {
        const code = thrown instanceof RandloraError ? systemCode(thrown.cause) : undefined;
        if (code !== "ENOENT" && code !== "ENOTDIR") throw thrown;
        if (!existsSync(path)) refuseMistyped(path);
        const hint = "--resume takes the folder of a run; alone it takes the newest under runs/";
        throw new RandloraError("file", `${oneLine(path)}: no ${SETTINGS_FILE}: not a run`, hint);
      },
    );
    const settings = parseTrainSettings(json, file);
    if (!isOwner) return { folder: RunFolder.shared(path), settings };
    return { folder: new RunFolder(absolute, await lockFolder(absolute), undefined), settings };
  }

  /** `state/`, the states of {@link saveState}. */
  get states(): string {
    return join(this.path, "state");
  }

  get metrics(): string {
    return join(this.path, METRICS_FILE);
  }

  /** The metrics as CSV. */
  get table(): string {
    return join(this.path, TABLE_FILE);
  }

  /** The newest adapter, or model. */
  last(result: TrainingDefinition["result"]): string {
    return join(this.path, result);
  }

  get best(): string {
    return join(this.path, "best");
  }

  /** Removes what a process that was killed while it wrote these folders left beside them. @throws RandloraError `file` */
  async removeLeftovers(): Promise<void> {
    for (const output of [this.last("adapter"), this.last("model"), this.best]) await removeLeftovers(output);
  }

  /** Replaces run.json in one step. */
  async writeSettings(settings: TrainSettings): Promise<void> {
    const text = `${JSON.stringify(formatSettings(settings), undefined, 2)}\n`;
    await replaceSynced(join(this.path, SETTINGS_FILE), text);
  }

  /** Removes a run that came to nothing, in which not a step was done, and the folders that were made for it. */
  async discardUnused(): Promise<void> {
    const metrics = await readFile(this.metrics, "utf8").catch(() => "");
    const state = await newestState(this.states);
    // An evaluation before the first step has no learning rate.
    if ((state?.progress.step ?? 0) > 0 || metrics.includes('"learning_rate"')) return;
    const made = [this.states, this.last("adapter"), this.last("model"), this.best, this.metrics, this.table];
    // run.json first: what is left then is no run.
    for (const path of [join(this.path, SETTINGS_FILE), ...made]) await removeAll(path);
    await this.#unlock();
    for (let path = this.path; this.#made !== undefined && path.startsWith(this.#made); path = dirname(path)) {
      if (!(await isEmptied(path))) return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unlock();
  }
}

/**
 * The newest unfinished run under `runs`, else the newest: the one whose run.json or newest state was written last. One
 * that a process trains into counts as unfinished: of several processes the first may hold it already.
 * @throws RandloraError `file`
 */
export async function newestRun(runs = RUNS): Promise<string> {
  let newest: { path: string; time: number; isOpen: boolean } | undefined;
  for (const name of await readdir(runs).catch((): string[] => [])) {
    const path = join(runs, name);
    const time = await modified(join(path, SETTINGS_FILE));
    if (time === undefined) continue;
    const last = Math.max(time, (await modified(join(path, "state"))) ?? 0);
    const isOpen = (await readRunFolder(path))?.state !== "done";
    const isNewer = newest === undefined || (isOpen === newest.isOpen ? last > newest.time : isOpen);
    if (isNewer) newest = { path, time: last, isOpen };
  }
  if (newest !== undefined) return newest.path;
  throw new RandloraError(
    "file",
    `${oneLine(runs)}: no run to resume`,
    "start one with randlora finetune MODEL --data FILE",
  );
}

interface FreshFolder {
  readonly path: string;
  /** The topmost folder that was made; undefined where all were there. */
  readonly made: string | undefined;
}

/** Two processes that ask at the same time get two folders: only one makes each. */
async function numbered({ model, method }: TrainSettings): Promise<FreshFolder> {
  const path = model.replace(/@[^@/]*$/, "").replace(/\.gguf$|\.safetensors(\.index\.json)?$/i, "");
  const name = basename(path).replaceAll(/[^A-Za-z0-9._-]/g, "-") || "model";
  const prefix = `${name}-${method}-`;
  const made = await naming(RUNS, "write", mkdir(resolve(RUNS), { recursive: true }));
  const names = await naming(RUNS, "read", readdir(RUNS));
  const taken = names.flatMap((other) => (other.startsWith(prefix) ? [Number(other.slice(prefix.length))] : []));
  for (let number = Math.max(0, ...taken.filter(Number.isSafeInteger)) + 1; ; number++) {
    const path = resolve(RUNS, `${prefix}${number}`);
    try {
      await mkdir(path);
      return { path, made: made ?? path };
    } catch (thrown) {
      if (systemCode(thrown) !== "EEXIST") throw fileError(thrown, path, "write");
    }
  }
}

async function emptyFolder(path: string): Promise<FreshFolder> {
  const made = await naming(path, "write", mkdir(path, { recursive: true }));
  await requireEmpty(path);
  return { path, made };
}

/** @throws RandloraError `file` where anything but locks, and what a start that was killed left, is in the folder */
async function requireEmpty(path: string): Promise<void> {
  const all = await naming(path, "read", readdir(path));
  const names = all.filter((name) => !name.startsWith("lock.") && name !== `${SETTINGS_FILE}.part`);
  if (names.length === 0) return;
  const isRun = names.includes(SETTINGS_FILE);
  const cause = isRun ? "there is a run already" : "the folder is not empty";
  const hint = isRun ? `go on with it (--resume ${shellWord(path)}), or name another --out` : "name another --out";
  throw new RandloraError("file", `cannot write ${oneLine(path)}: ${cause}`, hint);
}

/** Removes a folder that is empty. */
async function isEmptied(path: string): Promise<boolean> {
  return rmdir(path).then(
    () => true,
    () => false,
  );
}

async function modified(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
}

/**
 * Makes the folder `target` hold exactly what `write` puts into the empty folder it is given: the old and the new one are
 * exchanged whole, once the new one is on the disk.
 *
 * @throws RandloraError `file`; `target` is then as it was
 */
export async function refreshFolder(target: string, write: (folder: string) => Promise<void>): Promise<void> {
  await using output = await Publication.begin(target, { kind: "folder", force: true });
  try {
    await write(output.partPath);
  } catch (thrown) {
    throw fileError(thrown, target, "write");
  }
  await output.commit();
}
