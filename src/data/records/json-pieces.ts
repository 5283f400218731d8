import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";

/** A part of a JSON file that is a value of its own, not parsed yet. */
export interface JsonPiece {
  /** The line that it begins on, from 1. */
  readonly line: number;
  /** Its number in an array, from 1. */
  readonly element?: number;
  readonly bytes: Uint8Array;
}

/** Of one record: what is longer is no sample, and a file without an end of line would be held whole. */
export const MAX_RECORD_BYTES = 64 * 2 ** 20;

const NEWLINE = 0x0a;
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
export class ElementCutter {
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
