import { type FileHandle, readFile } from "node:fs/promises";
import * as v from "valibot";
import { naming } from "../../files/failure.ts";
import type { Metrics } from "../types.ts";
import { MetricsCopy, type MetricsFormat, openOwnFile } from "./metrics-copy.ts";

const finite = v.pipe(v.number(), v.finite());
const Step = v.object({
  step: finite,
  loss: finite,
  learning_rate: finite,
  grad_norm: finite,
  tokens: finite,
  seconds: finite,
  time: v.exactOptional(finite),
});
const Evaluation = v.object({
  step: finite,
  valid_loss: finite,
  valid_accuracy: v.exactOptional(finite),
  time: v.exactOptional(finite),
});
const Line = v.union([Step, Evaluation]);

/** Reads metrics.jsonl for a plot: lines that are none of ours, or were cut short, are passed over. */
export function parseMetrics(text: string): Metrics[] {
  return text.split("\n").flatMap((line) => {
    try {
      const result = v.safeParse(Line, JSON.parse(line));
      return result.success ? [result.output] : [];
    } catch {
      return [];
    }
  });
}

/** metrics.jsonl, one object a line, in the order of steps; and the same in other formats. */
export class MetricsFile implements AsyncDisposable {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #copies: MetricsCopy[] = [];

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /**
   * Opens or makes the file and cuts it back to what led to a state, all of it where there is none. A line that a killed
   * process left unfinished goes, too. Its copies are made to hold the same.
   * @param state its step, and the last step that was evaluated before it was saved
   * @param copies formats by path
   * @throws RandloraError `file`
   */
  static async open(
    path: string,
    state?: { readonly step: number; readonly evaluated: number | null },
    copies: Readonly<Record<string, MetricsFormat>> = {},
  ): Promise<MetricsFile> {
    const file = new MetricsFile(path, await openOwnFile(path));
    try {
      const lines = parseMetrics(await file.#cutTo(state));
      for (const [copy, format] of Object.entries(copies)) {
        file.#copies.push(await MetricsCopy.open(copy, format, lines));
      }
      return file;
    } catch (thrown) {
      await file[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** @returns what stays */
  async #cutTo(state: { readonly step: number; readonly evaluated: number | null } | undefined): Promise<string> {
    const text = await naming(this.#path, "read", readFile(this.#path));
    let end = 0;
    for (;;) {
      const next = text.indexOf(0x0a, end);
      if (next < 0 || !isBefore(text.toString("utf8", end, next), state)) break;
      end = next + 1;
    }
    await naming(this.#path, "write", this.#handle.truncate(end));
    return text.toString("utf8", 0, end);
  }

  /** Adds a line, with the time. */
  async append(metrics: Metrics): Promise<void> {
    const line = { ...metrics, time: Date.now() / 1000 };
    await naming(this.#path, "write", this.#handle.appendFile(`${JSON.stringify(line)}\n`));
    for (const copy of this.#copies) await copy.append(line);
  }

  /** Waits until the disk has every line. */
  async sync(): Promise<void> {
    await naming(this.#path, "write", this.#handle.sync());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const copy of this.#copies) await copy[Symbol.asyncDispose]();
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
