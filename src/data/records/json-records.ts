import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
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

/** A part of a JSON file that is a value of its own, not parsed yet. */
interface JsonPiece {
  /** The line that it begins on, from 1. */
  readonly line: number;
  /** Its number in an array, from 1. */
  readonly element?: number;
  readonly bytes: Uint8Array;
}

/** Of one record: what is longer is no sample, and a file without an end of line would be held whole. */
export const MAX_RECORD_BYTES = 64 * 2 ** 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN: ReadonlySet<number> = new Set([0x5b, 0x7b]); // [ {
const CLOSE: ReadonlySet<number> = new Set([0x5d, 0x7d]); // ] }
const SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** Collects a value's bytes, which may come in many chunks. */
class Collector {
  readonly #path: string;
  #parts: Uint8Array[] = [];
  #length = 0;

  /** @param path names the file in errors */
  constructor(path: string) {
    this.#path = path;
  }

  /** @param line that the value begins on @throws RandloraError `data` for one that is too long */
  add(part: Uint8Array, line: number): void {
    if (part.length === 0) return;
    this.#length += part.length;
    if (this.#length > MAX_RECORD_BYTES) {
      const cause = `line ${line}: a record of more than ${MAX_RECORD_BYTES / 2 ** 20} MiB`;
      const hint = "write it as several records, one a line";
      throw new RandloraError("data", `${oneLine(this.#path)}: ${cause}`, hint);
    }
    this.#parts.push(part);
  }

  get empty(): boolean {
    return this.#parts.length === 0;
  }

  take(): Uint8Array {
    const [first = new Uint8Array(), ...more] = this.#parts;
    this.#parts = [];
    this.#length = 0;
    return more.length === 0 ? first : new Uint8Array(Buffer.concat([first, ...more]));
  }
}

/**
 * Cuts JSON lines: every line that is not blank. A carriage return before the line's end is white space to JSON.
 * @param path names the file in errors
 * @throws RandloraError `data` for a line that is too long
 */
export async function* cutLines(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonPiece> {
  const collected = new Collector(path);
  let line = 1;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      collected.add(chunk.subarray(from, end), line);
      const bytes = collected.take();
      if (!isBlank(bytes)) yield { line, bytes };
      line++;
      from = end + 1;
    }
    collected.add(chunk.subarray(from), line);
  }
  const bytes = collected.take();
  if (!isBlank(bytes)) yield { line, bytes };
}

/** Where a cutter stands: among the elements, inside of a text in one of them, behind a backslash there, or at the end. */
type Place = "elements" | "text" | "escape" | "closed" | "broken";

/** Cuts the elements of a JSON array, chunk by chunk. What is between two commas is an element, JSON or not. */
class ElementCutter {
  readonly #collected: Collector;
  #place: Place = "elements";
  #depth = 0;
  #elements = 0;
  /** The line that was reached, and the one that the element began on. */
  #line: number;
  #begun: number;

  /** @param path names the file in errors @param line the line that the array's opening bracket stands on */
  constructor(path: string, line: number) {
    this.#collected = new Collector(path);
    this.#line = line;
    this.#begun = line;
  }

  /** Whether the array was closed, with nothing behind it. */
  get isComplete(): boolean {
    return this.#place === "closed";
  }

  /** Where an array that is not complete breaks off or goes wrong. */
  get line(): number {
    return this.#place === "broken" ? this.#line : this.#begun;
  }

  /**
   * @param chunk the next bytes behind the opening bracket
   * @returns the elements that end in it
   * @throws RandloraError `data` for one that is too long
   */
  push(chunk: Uint8Array): JsonPiece[] {
    const pieces: JsonPiece[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length && this.#place !== "broken"; at++) {
      // Most of a file is text: its plain characters are passed over quickly.
      if (this.#place === "text") at = endOfPlain(chunk, at);
      const byte = chunk[at];
      if (byte === undefined) break;
      if (byte === NEWLINE) this.#line++;
      if (this.#place === "text") {
        if (byte === QUOTE) this.#place = "elements";
        else if (byte === BACKSLASH) this.#place = "escape";
      } else if (this.#place === "escape") this.#place = "text";
      else if (SPACE.has(byte)) {
        // White space before an element does not belong to it, so that its line is that of its first character.
        if (from === at && this.#collected.empty) from = at + 1;
      } else if (this.#place === "closed") this.#place = "broken";
      else {
        if (from === at && this.#collected.empty) this.#begun = this.#line;
        if (byte === QUOTE) this.#place = "text";
        else if (OPEN.has(byte)) this.#depth++;
        else if (this.#depth > 0) this.#depth -= CLOSE.has(byte) ? 1 : 0;
        else if (byte === COMMA || CLOSE.has(byte)) {
          this.#collected.add(chunk.subarray(from, at), this.#begun);
          const isEmptyArray = byte !== COMMA && this.#elements === 0 && this.#collected.empty;
          this.#elements++;
          if (!isEmptyArray) {
            pieces.push({ line: this.#begun, element: this.#elements, bytes: this.#collected.take() });
          }
          if (byte !== COMMA) this.#place = "closed";
          from = at + 1;
        }
      }
    }
    if (this.#place !== "closed" && this.#place !== "broken") {
      this.#collected.add(chunk.subarray(from), this.#begun);
    }
    return pieces;
  }
}

/** The next quotation mark, backslash or newline. */
function endOfPlain(chunk: Uint8Array, from: number): number {
  let at = from;
  while (at < chunk.length && chunk[at] !== QUOTE && chunk[at] !== BACKSLASH && chunk[at] !== NEWLINE) at++;
  return at;
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => SPACE.has(byte));
}
