import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { removeAll } from "../../files/disk.ts";
import { naming, oneLine, systemCode } from "../../files/failure.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import { replaceSynced } from "../../files/whole-file.ts";
import { lockFolder } from "../run/lock.ts";
import { type ComparisonRecord, formatRecord, parseRecord } from "./record.ts";

const RECORD_FILE = "compare.json";
const DAMAGED = "the file was changed: start a new comparison in another folder";

/** A comparison's folder, which only this process writes into until it is disposed. */
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

  /** Opens a comparison to go on with. @throws RandloraError `file`, `format` */
  static async open(out: string): Promise<{ folder: ComparisonFolder; record: ComparisonRecord }> {
    const path = resolve(out);
    const file = join(path, RECORD_FILE);
    const json = await readJson(file, MAX_SETTINGS_BYTES, DAMAGED).catch((thrown: unknown) => {
      const code = thrown instanceof RandloraError ? systemCode(thrown.cause) : undefined;
      if (code !== "ENOENT" && code !== "ENOTDIR") throw thrown;
      const hint = "--resume goes on with a folder that compare began";
      throw new RandloraError("file", `${oneLine(out)}: no ${RECORD_FILE}: not a comparison`, hint);
    });
    const record = parseRecord(json, file);
    return { folder: new ComparisonFolder(path, await lockFolder(path), false), record };
  }

  /** The folder of a run, below `runs/`. */
  run(name: string): string {
    return join(this.path, "runs", name);
  }

  /** Replaces compare.json in one step. @throws RandloraError `file` */
  async write(record: ComparisonRecord): Promise<void> {
    await replaceSynced(join(this.path, RECORD_FILE), formatRecord(record));
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

/** Only what a process left that was killed before it had written anything may be in the folder. */
async function requireEmpty(path: string): Promise<void> {
  const names = await naming(path, "read", readdir(path));
  if (names.every((name) => name.startsWith("lock.") || name === `${RECORD_FILE}.part`)) return;
  const isComparison = names.includes(RECORD_FILE);
  const cause = isComparison ? "there is a comparison already" : "the folder is not empty";
  const hint = isComparison ? "go on with it (--resume), or name another --out" : "name another --out";
  throw new RandloraError("file", `cannot write ${oneLine(path)}: ${cause}`, hint);
}
