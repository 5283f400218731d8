import {
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { RandloraError } from "../errors.ts";
import { naming, oneLine, quote } from "../files/failure.ts";
import { decodeUtf8 } from "../files/utf8.ts";
import type { DataRecord } from "./record.ts";

/**
 * Reads the rows of a parquet file, a row group at a time.
 *
 * @param columns the columns to read, where the file has them; a file with none of them is an error
 * @throws {RandloraError} `file` when it cannot be read, `format` when it is broken, `data` for text that is not UTF-8
 *   and for a file without any of the columns
 */
export async function* readParquetRecords(path: string, columns: readonly string[]): AsyncGenerator<DataRecord> {
  const name = oneLine(path);
  const file = await naming(path, "read", asyncBufferFromFile(path));
  const metadata = await explaining(name, parquetMetadataAsync(file));
  const present = columnsOf(metadata);
  const wanted = present.filter((column) => columns.includes(column));
  if (wanted.length === 0) {
    throw new RandloraError(
      "data",
      `${name}: none of its columns is a sample's field: ${present.map(quote).join(", ")}`,
      `known are ${columns.join(", ")}`,
    );
  }
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const parsers = { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && decodeUtf8(bytes, name) };
    const options = { file, metadata, columns: wanted, rowStart, rowEnd, compressors, parsers };
    const rows = await explaining(name, parquetReadObjects(options));
    for (const [i, row] of rows.entries()) {
      const line = rowStart + i + 1;
      yield { line, place: `row ${line}`, fields: plainFields(row) };
    }
    rowStart = rowEnd;
  }
}

function columnsOf(metadata: FileMetaData): string[] {
  return parquetSchema(metadata).children.map(({ element }) => element.name);
}

async function explaining<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    if (thrown instanceof RandloraError) throw thrown;
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new RandloraError("format", `${name}: not a parquet file that can be read: ${reason}`, "fetch it again", {
      cause: thrown,
    });
  }
}

function plainFields(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [key, plain(value)]));
}

/** As JSON would have it: 64-bit integers are numbers, times are texts, and what is missing is null. */
function plain(value: unknown): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (ArrayBuffer.isView(value)) return null;
  return typeof value === "object" ? plainFields({ ...value }) : value;
}
