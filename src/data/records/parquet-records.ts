import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import { MAX_RECORD_BYTES } from "./json-pieces.ts";
import { ParquetFile } from "./parquet-file.ts";
import type { DataRecord } from "./record.ts";

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
