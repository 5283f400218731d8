import { type FileHandle, open } from "node:fs/promises";
import { naming } from "../safetensors/failure.ts";
import type { Metrics } from "./types.ts";

/** metrics.jsonl: one object a line, in the order of steps. */
export class MetricsFile implements AsyncDisposable {
  readonly #path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /**
   * Opens or makes the file and cuts it back to what belongs to `step` and before; −1 empties it. A line that a killed
   * process left unfinished goes, too.
   * @throws RandloraError `file`
   */
  static async open(path: string, step: number): Promise<MetricsFile> {
    const handle = await naming(path, "write", open(path, "a+"));
    const text = await naming(path, "read", handle.readFile());
    let end = 0;
    for (;;) {
      const next = text.indexOf(0x0a, end);
      if (next < 0 || stepOf(text.toString("utf8", end, next)) > step) break;
      end = next + 1;
    }
    await naming(path, "write", handle.truncate(end));
    return new MetricsFile(path, handle);
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

/** The step of a line; Infinity for what is none. */
function stepOf(line: string): number {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === "object" && parsed !== null && "step" in parsed && typeof parsed.step === "number") {
      return parsed.step;
    }
  } catch {
    // Not JSON: cut off by a crash, or not ours.
  }
  return Infinity;
}
