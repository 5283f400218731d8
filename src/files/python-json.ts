import { type Json, stringifyLossless } from "./lossless-json.ts";

/**
 * What Python's `json.dumps(value, indent=indent)` writes: ASCII alone, everything else as \uXXXX of UTF-16. Numbers stand as
 * they were written in the file that they come from.
 */
export function pythonJson(value: Json, indent: number): string {
  // Outside of strings JSON is ASCII, and control characters have been escaped, but for DEL.
  return stringifyLossless(value, indent).replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Python's white space (`str.isspace`): not JavaScript's, which has U+FEFF and lacks U+001C to U+001F and U+0085. */
const SPACES: readonly (readonly [from: number, to: number])[] = [
  [0x09, 0x0d],
  [0x1c, 0x20],
  [0x85, 0x85],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
];

/** Python's `text.strip()`. */
export function pythonStrip(text: string): string {
  const isSpace = (at: number) => {
    const unit = text.charCodeAt(at);
    return SPACES.some(([first, last]) => unit >= first && unit <= last);
  };
  let [from, to] = [0, text.length];
  while (from < to && isSpace(from)) from++;
  while (to > from && isSpace(to - 1)) to--;
  return text.slice(from, to);
}
