import { extname } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { ChunkedFile } from "./chunks.ts";
import { cutLines, MAX_RECORD_BYTES, readJsonRecords, withoutByteOrderMark } from "./json-records.ts";
import type { DataRecord } from "./record.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import { ParquetFile } from "./parquet-file.ts";
import { parseCsv } from "./csv.ts";

/** First bytes of compressed files, which are not looked into. */
const COMPRESSED: readonly (readonly [bytes: readonly number[], name: string])[] = [
  [[0x1f, 0x8b], "gzip"],
  [[0x28, 0xb5, 0x2f, 0xfd], "Zstandard"],
  [[0x50, 0x4b, 0x03, 0x04], "ZIP"],
  [[0x42, 0x5a, 0x68], "bzip2"],
  [[0xfd, 0x37, 0x7a, 0x58], "xz"],
];

/** Bytes that tell what a file is. */
const LEAD = 64;
/** What is called so is JSON, or broken. */
const JSON_NAMES: ReadonlySet<string> = new Set([".json", ".jsonl", ".ndjson"]);
/** How a list or lines of objects begin; "[Verse 1]" is text. */
const JSON_RECORDS = /^\s*(\{\s*"|\[\s*\{)/;

/**
 * Reads the records of a data file one by one: JSON lines, a JSON array or parquet, told by its first bytes; what
 * is called .csv or .tsv as a table, and what is called .txt and is no JSON as plain text.
 *
 * @param columns of a parquet file that are read
 * @throws {RandloraError} naming the file and the line or row
 */
export async function* readRecords(path: string, columns: readonly string[]): AsyncGenerator<DataRecord> {
  await using file = await ChunkedFile.open(path);
  const start = await file.read(LEAD);
  const compressed = COMPRESSED.find(([bytes]) => bytes.every((byte, i) => start[i] === byte));
  if (compressed !== undefined) {
    throw new RandloraError("data", `${oneLine(path)}: compressed (${compressed[1]})`, "unpack it first");
  }
  const begin = new TextDecoder().decode(start);
  const extension = extname(path).toLowerCase();
  if (begin.startsWith("PAR1")) yield* readParquetRecords(path, columns);
  else if (extension === ".csv") yield* readCsvRecords(path, file.chunks(), ",");
  else if (extension === ".tsv") yield* readCsvRecords(path, file.chunks(), "\t");
  else if (extension === ".txt" && !JSON_RECORDS.test(begin)) yield* readTextRecords(path, file.chunks());
  else if (JSON_NAMES.has(extension) || /^\s*([[{]|$)/.test(begin)) yield* readJsonRecords(path, file.chunks());
  else {
    const cause = `${oneLine(path)}: data of no known kind: neither JSON nor parquet`;
    const kinds = "known are .jsonl, .json, .parquet, .csv, .tsv (tabs) and .txt (a sample a line)";
    throw new RandloraError("data", cause, `${kinds}; name the file so, or write it as one of them`);
  }
}

/**
 * Reads the rows of a parquet file, a row group at a time.
 *
 * @param columns the columns to read, where the file has them; a file with none of them is an error
 * @throws {RandloraError} as {@link ParquetFile}, `data` for text that is not UTF-8 and for a file without any of the columns
 */
export async function* readParquetRecords(path: string, columns: readonly string[]): AsyncGenerator<DataRecord> {
  const file = await ParquetFile.open(path);
  const { name, columns: present } = file;
  const wanted = present.filter((column) => columns.includes(column));
  if (wanted.length === 0) {
    throw new RandloraError(
      "data",
      `${name}: none of its columns is a sample's field: ${present.map(quote).join(", ")}`,
      `known are ${columns.join(", ")}`,
    );
  }
  const stringFromBytes = (bytes: Uint8Array | undefined) => {
    if (bytes === undefined || bytes.length <= MAX_RECORD_BYTES) return bytes && decodeUtf8(bytes, name);
    const cause = `${name}: a text of more than ${MAX_RECORD_BYTES / 2 ** 20} MiB`;
    throw new RandloraError("data", cause, "split it into rows, which are a sample each");
  };
  const parsers = { stringFromBytes };
  for (const group of file.groups) {
    for (const [i, row] of (await file.rows(group, wanted, { parsers })).entries()) {
      const line = group.rowStart + i + 1;
      yield { line, place: `row ${line}`, fields: plainFields(row) };
    }
  }
}

function plainFields(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [key, plain(value)]));
}

/**
 * A struct without its nulls: Arrow gives all structs of a column the keys of each of them, so that arguments of one tool's
 * calls would be those of every tool (TRL's remove_none_values, data_utils.py).
 */
function plainStruct(value: object): Record<string, unknown> {
  return plainFields(
    Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null && field !== undefined)),
  );
}

/** As JSON would have it: 64-bit integers are numbers, times are texts, and what is missing is null. */
function plain(value: unknown): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (ArrayBuffer.isView(value)) return null;
  return typeof value === "object" ? plainStruct(value) : value;
}

/** Values that are missing, quoted or not, as pandas has them (pandas/_libs/parsers.pyx, STR_NA_VALUES) and so `datasets`. */
const MISSING: ReadonlySet<string> = new Set(
  "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|"),
);

/** A table is read whole. */
const MAX_CSV_BYTES = 256 * 2 ** 20;

/**
 * Reads plain text: every line that is not blank is a record with the field `text`, as the `text` loader of `datasets` has it.
 * @throws {RandloraError} `data` naming the line that is not UTF-8 or too long
 */
async function* readTextRecords(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<DataRecord> {
  for await (const { line, bytes } of cutLines(path, withoutByteOrderMark(chunks))) {
    const place = `line ${line}`;
    const text = decodeUtf8(bytes, `${oneLine(path)}: ${place}`).replace(/\r$/, "");
    yield { line, place, fields: { text } };
  }
}

/**
 * Reads values separated by commas or tabs: the first line names the fields.
 * @throws {RandloraError} `data` naming the line that has more values than the first one, and for a file that is too large
 */
async function* readCsvRecords(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  separator: "," | "\t",
): AsyncGenerator<DataRecord> {
  const name = oneLine(path);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of withoutByteOrderMark(chunks)) {
    parts.push(chunk);
    bytes += chunk.length;
    if (bytes <= MAX_CSV_BYTES) continue;
    throw new RandloraError(
      "data",
      `${name}: a table of more than ${MAX_CSV_BYTES / 2 ** 20} MiB`,
      "write it as JSON lines",
    );
  }
  for (const { line, fields } of parseCsv(decodeUtf8(Buffer.concat(parts), name), name, separator)) {
    const given = Object.entries(fields).map(([column, value]) => [column, MISSING.has(value) ? null : value]);
    yield { line, place: `line ${line}`, fields: Object.fromEntries(given) };
  }
}
