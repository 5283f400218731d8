/** A part of a JSON file that is a value of its own, not parsed yet. */
export interface JsonPiece {
  /** The line that it begins on, from 1. */
  readonly line: number;
  readonly bytes: Uint8Array;
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN: ReadonlySet<number> = new Set([0x5b, 0x7b]); // [ {
const CLOSE: ReadonlySet<number> = new Set([0x5d, 0x7d]); // ] }
const SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** Collects a value's bytes, which may come in many chunks. */
class Collector {
  #parts: Uint8Array[] = [];

  add(part: Uint8Array): void {
    if (part.length > 0) this.#parts.push(part);
  }

  get empty(): boolean {
    return this.#parts.length === 0;
  }

  take(): Uint8Array {
    const [first = new Uint8Array(), ...more] = this.#parts;
    this.#parts = [];
    return more.length === 0 ? first : new Uint8Array(Buffer.concat([first, ...more]));
  }
}

/** Cuts JSON lines: every line that is not blank. A carriage return before the line's end is white space to JSON. */
export async function* cutLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonPiece> {
  const collected = new Collector();
  let line = 1;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      collected.add(chunk.subarray(from, end));
      const bytes = collected.take();
      if (!isBlank(bytes)) yield { line, bytes };
      line++;
      from = end + 1;
    }
    collected.add(chunk.subarray(from));
  }
  const bytes = collected.take();
  if (!isBlank(bytes)) yield { line, bytes };
}

/**
 * Cuts the elements of a JSON array without reading it whole. What is between two commas is an element, JSON or not.
 *
 * @param chunks the bytes behind the opening bracket
 * @param line the line that they begin on
 * @returns after the last element: whether the array was closed, with nothing behind it
 */
export async function* cutElements(
  chunks: AsyncIterable<Uint8Array>,
  line: number,
): AsyncGenerator<JsonPiece, { closed: boolean; line: number }> {
  const collected = new Collector();
  let begun = line;
  let depth = 0;
  let closed = false;
  let inString = false;
  let escaped = false;
  let elements = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (const [at, byte] of chunk.entries()) {
      if (byte === NEWLINE) line++;
      if (closed) {
        if (!SPACE.has(byte)) return { closed: false, line };
        continue;
      }
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (SPACE.has(byte)) {
        // Leading white space does not belong to an element, so that its line is that of its first character.
        if (collected.empty && from === at) from = at + 1;
        continue;
      }
      const ends = depth === 0 && (byte === COMMA || CLOSE.has(byte));
      if (collected.empty && from === at) begun = line;
      if (ends) {
        collected.add(chunk.subarray(from, at));
        closed = byte !== COMMA;
        if (!(closed && elements === 0 && collected.empty)) yield { line: begun, bytes: collected.take() };
        elements++;
        from = at + 1;
      } else if (byte === QUOTE) inString = true;
      else if (OPEN.has(byte)) depth++;
      else if (CLOSE.has(byte)) depth--;
    }
    if (!closed) collected.add(chunk.subarray(from));
  }
  return { closed, line: closed ? line : begun };
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => SPACE.has(byte));
}
