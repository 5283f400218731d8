import { extname } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { ChunkedFile } from "./chunks.ts";
import { readJsonRecords } from "./json-records.ts";
import { readParquetRecords } from "./parquet-records.ts";
import type { DataRecord } from "./record.ts";
import { readCsvRecords, readTextRecords } from "./text-records.ts";

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
