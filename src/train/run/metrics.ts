import * as v from "valibot";
import { type FileHandle, lstat, mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { naming, oneLine } from "../../files/failure.ts";
import type { Metrics } from "../types.ts";
import { dirname, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { EVENT_FILE, eventRecord, FIRST_RECORD } from "../../files/event-file.ts";

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

/** Another format of metrics.jsonl: each line's bytes follow from the line alone. */
interface MetricsFormat {
  readonly head: Uint8Array;
  /** What begins otherwise is another run's, and stays. */
  readonly isShared?: boolean;
  record(metrics: Metrics): Uint8Array;
}

const COLUMNS = [
  "step",
  "loss",
  "learning_rate",
  "grad_norm",
  "tokens",
  "seconds",
  "valid_loss",
  "valid_accuracy",
  "time",
] as const;

/** A table: what a line does not have is empty. */
export const CSV: MetricsFormat = {
  head: Buffer.from(`${COLUMNS.join(",")}\n`),
  record(metrics) {
    const values = new Map<string, unknown>(Object.entries(metrics));
    return Buffer.from(`${COLUMNS.map((column) => values.get(column) ?? "").join(",")}\n`);
  },
};

/** TensorBoard's events, with the tags of transformers' Trainer. */
export const EVENTS: MetricsFormat = {
  head: FIRST_RECORD,
  isShared: true,
  record(metrics) {
    const { step, time = 0 } = metrics;
    if ("valid_loss" in metrics) {
      const { valid_loss: loss, valid_accuracy: accuracy } = metrics;
      return eventRecord(time, step, {
        "eval/loss": loss,
        ...(accuracy !== undefined && { "eval/accuracy": accuracy }),
      });
    }
    const { loss, learning_rate, grad_norm, tokens, seconds } = metrics;
    const scalars = { loss, learning_rate, grad_norm, tokens, seconds };
    return eventRecord(
      time,
      step,
      Object.fromEntries(Object.entries(scalars).map(([key, value]) => [`train/${key}`, value])),
    );
  },
};

/** A file that holds what metrics.jsonl holds, in another format. */
class MetricsCopy implements AsyncDisposable {
  readonly #path: string;
  readonly #format: MetricsFormat;
  readonly #handle: FileHandle;

  private constructor(path: string, format: MetricsFormat, handle: FileHandle) {
    this.#path = path;
    this.#format = format;
    this.#handle = handle;
  }

  /**
   * Opens or makes the file, so that it holds `lines` and nothing else. One that begins so is cut, in place: TensorBoard
   * goes on reading where it is.
   * @throws RandloraError `file`
   */
  static async open(path: string, format: MetricsFormat, lines: readonly Metrics[]): Promise<MetricsCopy> {
    await naming(path, "write", mkdir(dirname(path), { recursive: true }));
    const handle = await openOwnFile(path);
    try {
      const wanted = Buffer.concat([format.head, ...lines.map((line) => format.record(line))]);
      const found = await naming(path, "read", readFile(handle));
      const begins = found.subarray(0, wanted.length).equals(wanted);
      if (format.isShared === true && !beginsAlike(found, wanted, format, lines)) throw eventsOfAnother(dirname(path));
      await naming(path, "write", handle.truncate(begins ? wanted.length : 0));
      if (!begins) await naming(path, "write", handle.appendFile(wanted));
      return new MetricsCopy(path, format, handle);
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  }

  async append(metrics: Metrics): Promise<void> {
    await naming(this.#path, "write", this.#handle.appendFile(this.#format.record(metrics)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** Do both have the same first line, as far as they have one? */
function beginsAlike(found: Buffer, wanted: Buffer, { head, record }: MetricsFormat, [first]: readonly Metrics[]) {
  const length = head.length + (first === undefined ? 0 : record(first).length);
  return found.length < length || found.subarray(0, length).equals(wanted.subarray(0, length));
}

/** TensorBoard would mix them. */
function eventsOfAnother(logDir: string): RandloraError {
  const cause = `--log-dir ${oneLine(logDir)}: there are events of another run`;
  const hint = `name another, such as ${oneLine(join(logDir, "NAME"))}: TensorBoard shows all runs below a folder`;
  return new RandloraError("file", cause, hint);
}

/** The event file in `--log-dir`. */
export function eventFile(logDir: string): string {
  return join(logDir, EVENT_FILE);
}

/** @throws RandloraError `file` where `--log-dir` has events of another run, which TensorBoard would mix with this one's */
export async function refuseOtherEvents(logDir: string): Promise<void> {
  for (const name of await readdir(logDir).catch((): string[] => [])) {
    if (!name.includes("tfevents")) continue;
    // A run that failed before its first step leaves a head.
    if ((await naming(join(logDir, name), "read", stat(join(logDir, name)))).size <= FIRST_RECORD.length) continue;
    throw eventsOfAnother(logDir);
  }
}

/**
 * Opens or makes a file that a run appends to. A run may come from elsewhere: a link in it would have another file cut and
 * written, and a pipe would wait for ever.
 * @throws RandloraError `file`
 */
async function openOwnFile(path: string): Promise<FileHandle> {
  const found = await lstat(path).catch(() => undefined); // what cannot be looked at cannot be opened either
  if (found !== undefined && !found.isFile()) {
    throw new RandloraError("file", `${oneLine(path)} is a link, or no file`, "remove it: the run makes its own");
  }
  return await naming(path, "write", open(path, "a+"));
}
