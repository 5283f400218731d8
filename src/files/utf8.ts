import { RandloraError } from "./errors.ts";

/**
 * Decodes a file's bytes as they are: a byte order mark, CRLF and NUL stay in the text.
 *
 * @param name the file, for the error
 * @throws {RandloraError} `data` naming the offset of the first byte that is not UTF-8, as Python's open() does
 */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const offset = validPrefix(bytes);
    const byte = (bytes[offset] ?? 0).toString(16).padStart(2, "0");
    const [first = 0, second = 0] = bytes;
    const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
    throw new RandloraError(
      "data",
      `${name}: not UTF-8: byte 0x${byte} at offset ${offset}`,
      `convert the file first${isUtf16 ? "" : ", for example"}: iconv -f ${isUtf16 ? "UTF-16" : "LATIN1"} -t UTF-8`,
    );
  }
}

/** Length of the longest prefix made of whole UTF-8 characters, by bisecting over what a fatal decoder accepts. */
function validPrefix(bytes: Uint8Array): number {
  // With `stream` a decoder accepts half a character at the end and refuses only what can never become one.
  const accepts = (length: number): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (accepts(middle)) good = middle;
    else bad = middle;
  }
  // `good` may end inside the character whose next byte is wrong; the error is at that character's first byte.
  let start = good;
  while (start > 0 && good - start < 3 && ((bytes[start - 1] ?? 0) & 0xc0) === 0x80) start--;
  if (start === 0) return good;
  const lead = bytes[start - 1] ?? 0;
  const needed = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return good - (start - 1) < needed ? start - 1 : good;
}
