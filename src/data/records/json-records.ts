import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import { cutLines, ElementCutter, type JsonPiece } from "./json-pieces.ts";
import type { DataRecord } from "./record.ts";

const OPENING_BRACKET = 0x5b;
const NEWLINE = 0x0a;

/**
 * Reads JSON lines, or the elements of a JSON array (told by its bracket, whatever the file's name), one by one.
 *
 * @param chunks the file's bytes
 * @throws {RandloraError} `data` naming the line that is not UTF-8, not JSON or not an object, or the line on which an
 *   array breaks off
 */
export async function* readJsonRecords(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<DataRecord> {
  const bytes = withoutByteOrderMark(chunks);
  const lead = await readLead(path, bytes);
  if (lead.first !== OPENING_BRACKET) {
    for await (const piece of cutLines(path, joined(lead.bytes, bytes))) yield parsePiece(path, piece);
    return;
  }
  const line = 1 + lead.bytes.subarray(0, lead.at).filter((byte) => byte === NEWLINE).length;
  const cutter = new ElementCutter(path, line);
  for await (const chunk of joined(lead.bytes.subarray(lead.at + 1), bytes)) {
    for (const piece of cutter.push(chunk)) yield parsePiece(path, piece);
  }
  if (cutter.isComplete) return;
  throw new RandloraError(
    "data",
    `${oneLine(path)}: line ${cutter.line}: the JSON array is not closed as it should be`,
    "the file may be cut short: fetch or write it again",
  );
}

function parsePiece(path: string, { line, element, bytes }: JsonPiece): DataRecord {
  // Arrays often stand on one line.
  const place = element === undefined ? `line ${line}` : `element ${element} (line ${line})`;
  const text = decodeUtf8(bytes, `${oneLine(path)}: ${place}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const told = error instanceof Error ? error.message.replace("JSON Parse error: ", "") : String(error);
    // All that Bun says of a value with something behind it.
    const reason = told === "Unable to parse JSON string" ? "there is more behind the first value" : told;
    throw new RandloraError(
      "data",
      `${oneLine(path)}: ${place}: not JSON: ${reason}`,
      "every line must be one JSON object, or the whole file one JSON array of objects",
      { cause: error },
    );
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return { line: element ?? line, place, fields: { ...value } };
  const found = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  throw new RandloraError("data", `${oneLine(path)}: ${place}: ${found}, not an object with a sample's fields`);
}

export async function* withoutByteOrderMark(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let first = true;
  for await (const chunk of chunks) {
    const marked = first && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf;
    yield marked ? chunk.subarray(3) : chunk;
    first = false;
  }
}

/** White space before the first record; read again with every chunk, so it is little. */
const MAX_LEAD_BYTES = 1 << 20;

/** Reads as far as the first byte that is not white space. */
async function readLead(
  path: string,
  chunks: AsyncGenerator<Uint8Array>,
): Promise<{ bytes: Uint8Array; at: number; first?: number }> {
  let bytes = new Uint8Array();
  for (;;) {
    const at = bytes.findIndex((byte) => byte > 0x20);
    if (at >= 0) return { bytes, at, ...(bytes[at] === undefined ? {} : { first: bytes[at] }) };
    const { value, done } = await chunks.next();
    if (done === true) return { bytes, at: 0 };
    bytes = new Uint8Array(Buffer.concat([bytes, value]));
    if (bytes.length > MAX_LEAD_BYTES) throw new RandloraError("data", `${oneLine(path)}: white space without an end`);
  }
}

async function* joined(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}
