import { type FileHandle, lstat, mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { EVENT_FILE, eventRecord, FIRST_RECORD } from "../../files/event-file.ts";
import { naming, oneLine } from "../../files/failure.ts";
import type { Metrics } from "../types.ts";

/** Another format of metrics.jsonl: each line's bytes follow from the line alone. */
export interface MetricsFormat {
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
export class MetricsCopy implements AsyncDisposable {
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
export async function openOwnFile(path: string): Promise<FileHandle> {
  const found = await lstat(path).catch(() => undefined); // what cannot be looked at cannot be opened either
  if (found !== undefined && !found.isFile()) {
    throw new RandloraError("file", `${oneLine(path)} is a link, or no file`, "remove it: the run makes its own");
  }
  return await naming(path, "write", open(path, "a+"));
}
