import { existsSync } from "node:fs";
import { realpath, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { RandloraError } from "./errors.ts";
import { syncFolder } from "./disk.ts";
import { naming, oneLine } from "./failure.ts";
import { refuseInputs, refuseOtherKind } from "./publish-check.ts";
import { replaceSynced, writeSynced } from "./whole-file.ts";

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
 * finished: until then that is `NAME.unfinished`, which `resume` goes on with.
 */
export class GrowingFile {
  /** What is gone on with; undefined for a file that begins. */
  readonly begun: string | undefined;
  /** Where it grows. */
  readonly path: string;
  readonly #target: string;

  private constructor(target: string, path: string, begun: string | undefined) {
    this.#target = target;
    this.path = path;
    this.begun = begun;
  }

  /** @throws {RandloraError} `file` for one that exists and may not be replaced, that is an input, or cannot be written */
  static async open(path: string, { resume, force, inputs = [] }: GrowingOptions): Promise<GrowingFile> {
    const exists = existsSync(path);
    if (exists && !resume && !force) {
      const hint = "--resume goes on with it, --force replaces it";
      throw new RandloraError("file", `${oneLine(path)}: it exists already`, hint);
    }
    if (exists) {
      const target = await naming(path, "write", realpath(path));
      const there = await refuseInputs(target, { kind: "file", inputs });
      if (there !== undefined) refuseOtherKind(target, "file", there);
    }
    const aside = `${path}.unfinished`;
    const begun = resume ? [aside, path].find((one) => existsSync(one)) : undefined;
    const grows = begun ?? (exists ? aside : path);
    // That it cannot be written is found out before the work.
    await naming(path, "write", writeSynced(`${grows}.part`, ""));
    await rm(`${grows}.part`);
    return new GrowingFile(path, grows, begun);
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
}
