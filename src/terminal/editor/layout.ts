import { graphemes } from "./edit.ts";

/** A part of a line that fills one row of the terminal. */
export interface Row {
  /** UTF-16 units into the line: `line.slice(start, end)`. */
  readonly start: number;
  readonly end: number;
  /** Columns that it takes. */
  readonly width: number;
}

/** A text as rows of a terminal, and where the cursor is among them. */
export interface Layout {
  /** What is shown, row by row; no row is wider than the columns given (except one wide character in one column). */
  readonly rows: readonly string[];
  readonly cursor: { readonly row: number; readonly column: number };
}

/** How many columns a tab takes. */
const TAB = "    ";

/** Texts of nothing but ASCII need no segmentation: one unit, one column. */
const PLAIN = /^[\x20-\x7e]*$/;

/** Lays texts out; lines are remembered from call to call, so that typing into one of a thousand lines costs one line. */
export class Layouter {
  #columns = 0;
  #known = new Map<string, readonly Row[]>();

  /**
   * Breaks a text into rows of at most `columns` columns, at newlines and wherever a row is full.
   * @param cursor a position in the text, in UTF-16 units
   */
  layOut(text: string, cursor: number, columns: number): Layout {
    if (columns !== this.#columns) this.#known.clear();
    this.#columns = columns;
    const known = new Map<string, readonly Row[]>();
    const rows: string[] = [];
    let at = { row: 0, column: 0 };
    let start = 0;
    for (const line of text.split("\n")) {
      const lineRows = known.get(line) ?? this.#known.get(line) ?? wrap(line, columns);
      known.set(line, lineRows);
      const offset = cursor - start;
      if (offset >= 0 && offset <= line.length) {
        const place = locate(line, lineRows, offset, columns);
        at = { row: rows.length + place.row, column: place.column };
      }
      for (const row of lineRows) rows.push(shown(line.slice(row.start, row.end)));
      // A cursor behind a full last row stands at the beginning of the next.
      if (at.row === rows.length) rows.push("");
      start += line.length + 1;
    }
    this.#known = known;
    return { rows, cursor: at };
  }
}

/** Breaks one line (no newlines) into rows. */
export function wrap(line: string, columns: number): Row[] {
  const rows: Row[] = [];
  if (PLAIN.test(line)) {
    for (let start = 0; start === 0 || start < line.length; start += columns) {
      const end = Math.min(line.length, start + columns);
      rows.push({ start, end, width: end - start });
    }
    return rows;
  }
  let start = 0;
  let width = 0;
  for (const { text, index } of graphemes(line)) {
    const wide = Bun.stringWidth(shown(text));
    if (width + wide > columns && width > 0) {
      rows.push({ start, end: index, width });
      start = index;
      width = 0;
    }
    width += wide;
  }
  rows.push({ start, end: line.length, width });
  return rows;
}

/** Where a position of a line is. */
function locate(line: string, rows: readonly Row[], offset: number, columns: number): { row: number; column: number } {
  let row = rows.findIndex(({ end }) => offset < end);
  if (row < 0) row = rows.length - 1;
  const column = Bun.stringWidth(shown(line.slice(rows[row]?.start ?? 0, offset)));
  return column >= columns ? { row: row + 1, column: 0 } : { row, column };
}

/** Text as it is shown: tabs as spaces, other control characters as `^X`. */
function shown(text: string): string {
  if (PLAIN.test(text)) return text;
  // oxlint-disable-next-line no-control-regex -- they are what is made visible
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    if (character === "\t") return TAB;
    const code = character.charCodeAt(0);
    return code < 0x20 ? `^${String.fromCharCode(code + 0x40)}` : code === 0x7f ? "^?" : "\uFFFD";
  });
}
