import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import { parseCsv } from "./csv.ts";
import { withoutByteOrderMark } from "./json-records.ts";
import { cutLines } from "./json-pieces.ts";
import type { DataRecord } from "./record.ts";

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
export async function* readTextRecords(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<DataRecord> {
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
export async function* readCsvRecords(
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
