/*
 * GPT-2's reversible map between bytes and printable characters: bytes that print stand for themselves, the other 68
 * for U+0100 and up, in order. (openai/gpt-2, encoder.py, bytes_to_unicode)
 */
const CHARACTERS: readonly string[] = characters();

/** The byte that a character stands for; characters outside of the map stand for no byte. */
export const BYTE_OF: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

/** The same as UTF-16 units. */
const UNITS = Uint16Array.from(CHARACTERS, (character) => character.charCodeAt(0));
/** Bytes from which making the text of units is faster than putting it together: by far, for millions of them. */
const MANY = 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-16le");

/** Writes a text's UTF-8 bytes in the map's characters. */
export function toByteLevel(text: string): string {
  const bytes = encoder.encode(text);
  if (bytes.length >= MANY) {
    const units = new Uint16Array(bytes.length);
    for (let i = 0; i < bytes.length; i++) units[i] = UNITS[bytes[i] ?? 0] ?? 0;
    return decoder.decode(units);
  }
  let mapped = "";
  for (const byte of bytes) mapped += CHARACTERS[byte];
  return mapped;
}

function characters(): string[] {
  let spare = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(prints(byte) ? byte : spare++));
}

function prints(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/** How a byte is written as a token where the vocabulary falls back to bytes. */
function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** Reads `<0xAB>`; undefined for any other token. */
export function readByteToken(token: string): number | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
}

/** The tokens of a text's UTF-8 bytes; undefined unless the vocabulary has all of them. */
export function byteIds(text: string, ids: ReadonlyMap<string, number>): number[] | undefined {
  const found: number[] = [];
  for (const byte of encoder.encode(text)) {
    const id = ids.get(byteToken(byte));
    if (id === undefined) return undefined;
    found.push(id);
  }
  return found;
}
