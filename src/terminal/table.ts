import { visible } from "../files/visible.ts";
import { steerless } from "./style.ts";
import { wrapWords } from "./word-wrap.ts";

/** How a table is laid out. */
export interface TableSpec {
  /** Headings; without them the rows stand alone. */
  readonly head?: readonly string[];
  /** One letter a column: `l`, or `r` for numbers, which are never cut. Columns beyond it are left-aligned. */
  readonly align?: string;
  /** Columns of the terminal; text that does not fit is cut with an ellipsis. No limit by default. */
  readonly columns?: number;
  /** Whether the last column goes on in further lines, broken at blanks, instead of being cut. */
  readonly wrap?: boolean;
  /** The column that gives way last: what is copied from it must be whole. */
  readonly last?: number;
  /** Columns that are left out, in this order, where the terminal is too narrow for all. */
  readonly drop?: readonly number[];
  /** How headings are marked (`style.dim`, say). */
  readonly markHead?: (text: string) => string;
}

const GAP = "  ";

/**
 * Lays out rows in aligned columns, each line ended by a newline. Widths count what a terminal shows: wide and
 * combining characters and color codes are measured as such. Where the terminal is too narrow the widest columns of
 * words give way first.
 */
export function formatTable(rows: readonly (readonly string[])[], spec: TableSpec = {}): string {
  const cells = rows.map((row) => row.map(shown));
  const all = spec.head === undefined ? cells : [spec.head, ...cells];
  const count = Math.max(0, ...all.map((row) => row.length));
  const natural = Array.from({ length: count }, (_, column) =>
    Math.max(0, ...all.map((row) => Bun.stringWidth(row[column] ?? ""))),
  );
  const kept = keptColumns(natural, spec);
  if (kept.length < count) {
    const pick = (row: readonly string[]) => kept.map((column) => row[column] ?? "");
    const align = kept.map((column) => spec.align?.[column] ?? "l").join("");
    const { head, last = -1, ...rest } = spec;
    const narrow = { ...rest, ...(head && { head: pick(head) }), align, last: kept.indexOf(last), drop: [] };
    return formatTable(rows.map(pick), narrow);
  }
  const widths = shrink(natural, (spec.columns ?? Infinity) - GAP.length * Math.max(0, count - 1), spec);
  const line = (row: readonly string[], mark: (text: string) => string): string => {
    const padded = widths.map((width, column) => {
      const cell = row[column] ?? "";
      const isWhole = spec.wrap === true && column === count - 1;
      return pad(mark(isWhole ? cell : cut(cell, width)), width, spec.align?.[column]);
    });
    return `${padded.join(GAP).trimEnd()}\n`;
  };
  const layout = (row: readonly string[], mark: (text: string) => string): string => {
    if (spec.wrap !== true) return line(row, mark);
    const [first, ...more] = wrapWords(row[count - 1] ?? "", widths.at(-1) ?? Infinity);
    const before = row.slice(0, count - 1);
    const lines = [[...before, first ?? ""], ...more.map((text) => [...before.map(() => ""), text])];
    return lines.map((cells) => line(cells, mark)).join("");
  };
  const head = spec.head === undefined ? "" : layout(spec.head, spec.markHead ?? unmarked);
  return head + cells.map((row) => layout(row, unmarked)).join("");
}

/** A cell may come from a file: nothing in it steers the terminal but the colors that the caller gave it. */
function shown(cell: string): string {
  return steerless(cell, visible);
}

/** Cuts to at most `width` terminal columns; what is lost is marked by an ellipsis. */
export function cut(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  // Slicing may overshoot by a column before a joined emoji, so the result is measured.
  for (let kept = width - 1; kept >= 0; kept--) {
    const short = `${Bun.sliceAnsi(text, 0, kept)}…`;
    if (Bun.stringWidth(short) <= width) return short;
  }
  return "";
}

function unmarked(text: string): string {
  return text;
}

function pad(text: string, width: number, align: string | undefined): string {
  const space = " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
  return align === "r" ? space + text : text + space;
}

/** Those that fit beside each other, where some may be left out. */
function keptColumns(natural: readonly number[], { drop = [], columns = Infinity }: TableSpec): number[] {
  let kept = [...natural.keys()];
  for (const column of drop) {
    const needed = kept.reduce((sum, at) => sum + (natural[at] ?? 0) + GAP.length, -GAP.length);
    if (needed > columns) kept = kept.filter((at) => at !== column);
  }
  return kept;
}

/** Lowers the widest columns of words, none below 4, until the sum fits; the `last` one when no other can be lowered. */
function shrink(natural: readonly number[], room: number, { last, align }: TableSpec): readonly number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, 0) - room;
  for (; excess > 0; excess--) {
    const words = widths.map((width, column) => (align?.[column] === "r" ? 0 : width));
    const others = words.map((width, column) => (column === last ? 0 : width));
    const from = Math.max(...others) > 4 ? others : words;
    const widest = Math.max(...from);
    if (widest <= 4) break;
    widths[from.indexOf(widest)] = widest - 1;
  }
  return widths;
}
