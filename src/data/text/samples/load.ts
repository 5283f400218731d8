import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { type EncoderOptions, SampleEncoder } from "./encoder.ts";
import { recognize, SAMPLE_FIELDS } from "./kinds.ts";
import { list } from "./messages.ts";
import { nameOf } from "../../records/data-files.ts";
import type { DataRecord } from "../../records/record.ts";
import { readRecords } from "../../records/records.ts";
import { DataSetBuilder, type StoredDataSet } from "./store.ts";
import type { DataSet, DataTotals } from "./types.ts";
import { type DataChoice, locateData, theSame } from "./files.ts";
import { splitForValidation } from "../../batches/shuffle.ts";

export interface LoadOptions extends EncoderOptions {
  /** `--max-length`: most tokens of a sample, at least 2. */
  readonly maxLength: number;
  /** Samples to keep, the first ones: what follows them is not read. All by default. */
  readonly most?: number | undefined;
  /** Told the number of samples read so far, now and then. */
  readonly onProgress?: (samples: number) => void;
  readonly signal?: AbortSignal;
}

/** Samples between two reports, and between two turns of the event loop. */
const REPORT_EVERY = 256;

/**
 * Reads and tokenizes data files, one after another.
 *
 * @param paths at least one
 * @throws {RandloraError} `file` when it cannot be read; `data` or `format` naming the line when its content is wrong; `data`
 *   when it has no samples, or none with supervised tokens
 */
export async function loadDataSet(paths: readonly string[], options: LoadOptions): Promise<StoredDataSet> {
  const { maxLength, most = Infinity, onProgress, signal } = options;
  if (!Number.isSafeInteger(maxLength) || maxLength < 2) {
    throw new RandloraError("usage", `--max-length ${maxLength}: a sample needs at least two tokens`);
  }
  const name = nameOf(paths);
  const encoder = new SampleEncoder(options);
  const builder = new DataSetBuilder(maxLength);
  let count = 0;
  const unknownRoles = new Set<string>();
  for await (const { file, record } of recordsOf(paths)) {
    const sample = recognize(file, record);
    for (const { role } of sample.kind === "chat" ? sample.messages : []) {
      if (!KNOWN_ROLES.has(role) && unknownRoles.size <= SHOWN_ROLES) unknownRoles.add(role.slice(0, ROLE_LENGTH));
    }
    builder.add(
      placed(file, record.place, () => encoder.encode(sample)),
      record.line,
    );
    count++;
    if (builder.length >= most) break;
    if (count % REPORT_EVERY !== 0) continue;
    onProgress?.(count);
    await Bun.sleep(0);
    signal?.throwIfAborted();
  }
  onProgress?.(count);
  const data = builder.build(name, [...unknownRoles]);
  if (data.length > 0) return data;
  if (count === 0) {
    const hint = "JSON lines need an object, CSV a line of values below the columns' names";
    throw new RandloraError("data", `${name}: no samples in this file`, hint);
  }
  throw new RandloraError(
    "data",
    `${name}: none of its ${count} samples has supervised tokens${data.totals.cut > 0 ? ` (${data.totals.cut} were cut)` : ""}`,
    data.totals.cut > 0
      ? "raise --max-length: the completion is at the end of a sample"
      : `chats need an assistant's turn, completions a text${unknownRoles.size === 0 ? "" : `; ${sayUnknownRoles(data.totals)}`}`,
  );
}

async function* recordsOf(paths: readonly string[]): AsyncGenerator<{ file: string; record: DataRecord }> {
  for (const path of paths) {
    const file = oneLine(path);
    for await (const record of readRecords(path, SAMPLE_FIELDS)) yield { file, record };
  }
}

/** Of a file's unknown roles so many are told, each by its first letters: every sample may have one of its own. */
const SHOWN_ROLES = 8;
const ROLE_LENGTH = 40;

/** Roles that models' chat templates know; in some, what a tool answers is of `function`, `ipython` or `observation`. */
const KNOWN_ROLES: ReadonlySet<string> = new Set([
  "system",
  "developer",
  "user",
  "assistant",
  "tool",
  "function",
  "ipython",
  "observation",
]);

/** What stands in a file's chats beside the roles that are known. */
export function sayUnknownRoles({ unknownRoles }: Pick<DataTotals, "unknownRoles">): string {
  const shown = unknownRoles.slice(0, SHOWN_ROLES).map(quote);
  const named = list(unknownRoles.length > SHOWN_ROLES ? [...shown, "others"] : shown);
  return `messages of the role ${named} are not trained on, only the assistant's: rename the roles to system, user and assistant`;
}

/** Adds file and place to errors that do not name the file yet. */
function placed<T>(name: string, place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RandloraError) || error.message.startsWith(`${name}: ${place}: `)) throw error;
    throw new RandloraError(error.code, `${name}: ${place}: ${error.message}`, error.hint, { cause: error });
  }
}

interface TrainingDataOptions extends LoadOptions {
  /** Draws what `--valid-split` sets aside. */
  readonly seed: bigint;
}

/** What a run is trained on and judged by. */
export interface TrainingData {
  readonly train: DataSet;
  readonly valid: DataSet | undefined;
  /** Of the files as they were read, before a part was set aside: how many samples were cut or dropped. */
  readonly read: readonly { readonly path: string; readonly totals: DataTotals }[];
}

/**
 * Loads training and validation data.
 *
 * @throws {RandloraError} as `locateData`, `loadDataSet` and `splitForValidation` do
 */
export async function loadTrainingData(choice: DataChoice, options: TrainingDataOptions): Promise<TrainingData> {
  const files = await locateData({ ...choice, withoutTest: true });
  const data = await loadDataSet(files.train, options);
  const read = [{ path: data.path, totals: data.totals }];
  if (choice.validSplit !== undefined) {
    const { train, valid } = splitForValidation(data.length, choice.validSplit, options.seed, data.path);
    return { train: data.select(train), valid: data.select(valid), read };
  }
  if (files.valid === undefined) return { train: data, valid: undefined, read };
  const valid = await loadDataSet(files.valid, options);
  if (areSame(data, valid)) throw theSame(files.train, files.valid);
  return { train: data, valid, read: [...read, { path: valid.path, totals: valid.totals }] };
}

/** Do both hold the same samples, be it in files of two formats? */
function areSame(a: DataSet, b: DataSet): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const [{ ids }, { ids: others }] = [a.sample(i), b.sample(i)];
    if (ids.length !== others.length || ids.some((id, at) => id !== others[at])) return false;
  }
  return true;
}
