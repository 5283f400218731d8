import { existsSync } from "node:fs";
import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { found, removeAll } from "../../files/disk.ts";
import { naming, oneLine, systemCode } from "../../files/failure.ts";
import { Publication, type PublicationOptions } from "../../files/publish.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import { lockFolder } from "../../train/run/lock.ts";
import { plannedRuns } from "./plan.ts";
import type { RunResult } from "./options.ts";
import { type ComparisonRecord, formatRecord, keyOf, parseDrawn, parseRecord, parseResult } from "./record.ts";
import type { DrawnByBase } from "./types.ts";

const RECORD_FILE = "compare.json";
/** Results of runs that tasks of a job array have made, until they are put into compare.json. */
const RESULTS = "results";
/** Texts that the base drew. */
const DRAWN_FILE = "forgetting.json";
const DAMAGED = "the file was changed: start a new comparison in another folder";

/**
 * A comparison's folder, which only this process writes into until it is disposed; or one that tasks of a job array share. Of
 * these each makes runs of its own, and what they write beside is the same, whoever does it.
 */
export class ComparisonFolder implements AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  readonly #unlock: () => Promise<void>;
  /** Was it made for this comparison? */
  readonly #isNew: boolean;

  private constructor(path: string, unlock: () => Promise<void>, isNew: boolean) {
    this.path = path;
    this.#unlock = unlock;
    this.#isNew = isNew;
  }

  /** Makes the folder, which must not exist or be empty, and writes what will be compared. @throws RandloraError `file` */
  static async create(out: string, record: ComparisonRecord): Promise<ComparisonFolder> {
    const path = resolve(out);
    const made = await naming(path, "write", mkdir(path, { recursive: true }));
    await requireEmpty(path);
    const folder = new ComparisonFolder(path, await lockFolder(path, ", or name another --out"), made !== undefined);
    try {
      // Another process may have come and gone before the lock was taken.
      await requireEmpty(path);
      await folder.write(record);
      return folder;
    } catch (thrown) {
      await folder[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Would {@link create} refuse it? @throws RandloraError `file` */
  static async refuseTaken(out: string): Promise<void> {
    const path = resolve(out);
    if (existsSync(path)) await requireEmpty(path);
  }

  /** Opens a comparison to go on with. @throws RandloraError `file`, `format` */
  static async open(out: string): Promise<{ folder: ComparisonFolder; record: ComparisonRecord }> {
    const path = resolve(out);
    const record = await readRecord(path, out);
    return { folder: new ComparisonFolder(path, await lockFolder(path), false), record };
  }

  /**
   * Joins the tasks that share a comparison; the first of them makes its folder, which must not exist or be empty.
   * @param begin what is compared, where no task has begun
   * @throws RandloraError `file`, `format`
   */
  static async join(
    out: string,
    begin: () => Promise<ComparisonRecord>,
  ): Promise<{ folder: ComparisonFolder; record: ComparisonRecord }> {
    const path = resolve(out);
    const folder = new ComparisonFolder(path, async () => {}, false);
    const names = await readdir(path).catch((): string[] => []);
    if (!names.includes(RECORD_FILE)) {
      await requireEmpty(path, names);
      await publish(join(path, RECORD_FILE), formatRecord(await begin()), {});
    }
    return { folder, record: await readRecord(path, out) };
  }

  /** As {@link join}, of a comparison that was begun. @throws RandloraError `file`, `format` */
  static async joinBegun(out: string): Promise<{ folder: ComparisonFolder; record: ComparisonRecord }> {
    const path = resolve(out);
    return { folder: new ComparisonFolder(path, async () => {}, false), record: await readRecord(path, out) };
  }

  /** What is recorded by now. @throws RandloraError `file`, `format` */
  async read(): Promise<Pick<ComparisonRecord, "results">> {
    const { results } = await readRecord(this.path, this.path);
    return { results };
  }

  /** The texts that the base drew, as they are kept here; they are drawn where they are not. @throws RandloraError `file`, `format` */
  async drawn(draw: () => Promise<DrawnByBase>): Promise<DrawnByBase> {
    const file = join(this.path, DRAWN_FILE);
    if ((await found(file)) === undefined) await publish(file, `${JSON.stringify(await draw())}\n`, {});
    return parseDrawn(await readJson(file, MAX_SETTINGS_BYTES, DAMAGED), file);
  }

  /** Keeps the result of a task's run. @throws RandloraError `file` */
  async putResult(name: string, result: RunResult): Promise<void> {
    await publish(join(this.path, RESULTS, `${name}.json`), `${JSON.stringify(result)}\n`, { force: true });
  }

  /** A record with the results that tasks have left, all in the order of the runs. @throws RandloraError `file`, `format` */
  async collected(record: ComparisonRecord): Promise<ComparisonRecord> {
    const known = new Map(record.results.map((result) => [keyOfResult(result), result]));
    const results: RunResult[] = [];
    for (const { name, contender, settings } of plannedRuns(record.comparison)) {
      const key = keyOf(contender.label, contender.budget, settings.seed);
      const result = known.get(key) ?? (await this.#result(name, key));
      if (result !== undefined) results.push(result);
    }
    return { ...record, results };
  }

  async #result(name: string, key: string): Promise<RunResult | undefined> {
    const file = join(this.path, RESULTS, `${name}.json`);
    if ((await found(file)) === undefined) return undefined;
    const result = parseResult(await readJson(file, MAX_SETTINGS_BYTES, DAMAGED), file);
    if (keyOfResult(result) === key) return result;
    throw new RandloraError(
      "format",
      `${oneLine(file)}: the result of another run`,
      "remove it: the run is then measured again",
    );
  }

  /** Removes what tasks have left, once the record has it. */
  async removeResults(): Promise<void> {
    await removeAll(join(this.path, RESULTS));
  }

  /** The folder of a run, below `runs/`. */
  run(name: string): string {
    return join(this.path, "runs", name);
  }

  /** Replaces compare.json in one step. @throws RandloraError `file` */
  async write(record: ComparisonRecord): Promise<void> {
    await publish(join(this.path, RECORD_FILE), formatRecord(record), { force: true });
  }

  /** Removes a comparison that came to nothing: one without any run. */
  async discardUnused(): Promise<void> {
    const runs = join(this.path, "runs");
    if ((await readdir(runs).catch((): string[] => [])).length > 0) return;
    await removeAll(join(this.path, RECORD_FILE));
    await rmdir(runs).catch(() => {});
    await this.#unlock();
    if (this.#isNew) await rmdir(this.path).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unlock();
  }
}

/**
 * Only what a process left that was killed before it had written anything may be in the folder.
 * @param read what is in it, where that has been read: tasks that join may have begun a comparison since
 */
async function requireEmpty(path: string, read?: readonly string[]): Promise<void> {
  const names = read ?? (await naming(path, "read", readdir(path)));
  if (names.every((name) => name.startsWith("lock.") || name.startsWith(`${RECORD_FILE}.`))) return;
  const isComparison = names.includes(RECORD_FILE);
  const cause = isComparison ? "there is a comparison already" : "the folder is not empty";
  const hint = isComparison ? "go on with it (--resume), or name another --out" : "name another --out";
  throw new RandloraError("file", `cannot write ${oneLine(path)}: ${cause}`, hint);
}

async function readRecord(path: string, out: string): Promise<ComparisonRecord> {
  const file = join(path, RECORD_FILE);
  const json = await readJson(file, MAX_SETTINGS_BYTES, DAMAGED).catch((thrown: unknown) => {
    const code = thrown instanceof RandloraError ? systemCode(thrown.cause) : undefined;
    if (code !== "ENOENT" && code !== "ENOTDIR") throw thrown;
    const hint = "--resume goes on with a folder that compare began";
    throw new RandloraError("file", `${oneLine(out)}: no ${RECORD_FILE}: not a comparison`, hint);
  });
  return parseRecord(json, file);
}

/** Makes a file appear whole; of tasks that write it at the same time the first one does, or with `force` each. */
async function publish(path: string, text: string, options: Pick<PublicationOptions, "force">): Promise<void> {
  await using file = await Publication.begin(path, { kind: "file", alike: true, ...options });
  await naming(file.partPath, "write", Bun.write(file.partPath, text));
  await file.commit();
}

function keyOfResult({ method, budget, seed }: RunResult): string {
  return keyOf(method, budget, seed);
}
