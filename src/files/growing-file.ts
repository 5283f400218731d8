import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { dirname } from "node:path";
import { RandloraError } from "./errors.ts";
import { syncFolder } from "./disk.ts";
import { naming, oneLine } from "./failure.ts";
import { Publication } from "./publish.ts";
import { replaceSynced } from "./whole-file.ts";

export interface GrowingOptions {
  /** Go on with the file, if it is there. */
  readonly resume: boolean;
  /** Replace a file that exists. */
  readonly force: boolean;
  /** Files and folders that are read meanwhile: the file may be none of them, nor in one of them. */
  readonly inputs?: readonly string[];
}

/**
 * A file that is whole at every moment while it grows. A file that is replaced (`force`) stays until the new one is
 * finished: until then that is `NAME.unfinished`, which `resume` goes on with. No two processes write one: an output that
 * is never published holds the lock, until `using` ends.
 */
export class GrowingFile implements AsyncDisposable {
  /** What is gone on with; undefined for a file that begins. */
  readonly begun: string | undefined;
  /** Where it grows. */
  readonly path: string;
  readonly #target: string;
  readonly #lock: Publication;

  private constructor(target: string, path: string, begun: string | undefined, lock: Publication) {
    this.#target = target;
    this.path = path;
    this.begun = begun;
    this.#lock = lock;
  }

  /**
   * @throws {RandloraError} `file` for one that exists and may not be replaced, that is an input, cannot be written, or is
   *   being written by another process
   */
  static async open(path: string, { resume, force, inputs = [] }: GrowingOptions): Promise<GrowingFile> {
    if (existsSync(path) && !resume && !force) {
      const hint = "--resume goes on with it, --force replaces it";
      throw new RandloraError("file", `${oneLine(path)}: it exists already`, hint);
    }
    const lock = await Publication.begin(path, { kind: "file", force: true, inputs });
    const aside = `${path}.unfinished`;
    const begun = resume ? [aside, path].find((one) => existsSync(one)) : undefined;
    return new GrowingFile(path, begun ?? (existsSync(path) ? aside : path), begun, lock);
  }

  /** @throws {RandloraError} `file` */
  async save(text: string): Promise<void> {
    await replaceSynced(this.path, text);
  }

  /** What was saved last is all. @throws {RandloraError} `file` */
  async finish(): Promise<void> {
    if (this.path === this.#target) return;
    await naming(this.#target, "write", rename(this.path, this.#target));
    await naming(this.#target, "write", syncFolder(dirname(this.#target)));
  }

  /** Lets others write it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock.abort();
  }
}
