import { type FileHandle, open, readFile } from "node:fs/promises";
import { naming } from "../../files/failure.ts";
import type { Metrics } from "../types.ts";

/** metrics.jsonl: one object a line, in the order of steps. */
export class MetricsFile implements AsyncDisposable {
  readonly #path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /**
   * Opens or makes the file and cuts it back to what led to a state, all of it where there is none. A line that a killed
   * process left unfinished goes, too.
   * @param state its step, and the last step that was evaluated before it was saved
   * @throws RandloraError `file`
   */
  static async open(
    path: string,
    state?: { readonly step: number; readonly evaluated: number | null },
  ): Promise<MetricsFile> {
    const file = new MetricsFile(path, await naming(path, "write", open(path, "a+")));
    await file.#cutTo(state);
    return file;
  }

  async #cutTo(state: { readonly step: number; readonly evaluated: number | null } | undefined): Promise<void> {
    const text = await naming(this.#path, "read", readFile(this.#path));
    let end = 0;
    for (;;) {
      const next = text.indexOf(0x0a, end);
      if (next < 0 || !isBefore(text.toString("utf8", end, next), state)) break;
      end = next + 1;
    }
    await naming(this.#path, "write", this.#handle.truncate(end));
  }

  async append(metrics: Metrics): Promise<void> {
    await naming(this.#path, "write", this.#handle.appendFile(`${JSON.stringify(metrics)}\n`));
  }

  /** Waits until the disk has every line. */
  async sync(): Promise<void> {
    await naming(this.#path, "write", this.#handle.sync());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** Does the line tell of what led to the state? Not a line that was cut off by a crash. */
function isBefore(line: string, state: { step: number; evaluated: number | null } | undefined): boolean {
  if (state === undefined) return false;
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== "object" || parsed === null || !("step" in parsed)) return false;
    const { step } = parsed;
    if (typeof step !== "number" || step > state.step) return false;
    return !("valid_loss" in parsed) || step <= (state.evaluated ?? -1);
  } catch {
    return false;
  }
}
