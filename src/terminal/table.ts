import { visible } from "../files/visible.ts";
import { steerless } from "./steerless.ts";
import { wrapWords } from "./wrap.ts";

/** How a table is laid out. */
export interface TableSpec {
  /** Headings; without them the rows stand alone. */
  readonly head?: readonly string[];
  /** One letter a column: `l` or `r`. Columns beyond it are left-aligned. */
  readonly align?: string;
  /** Columns of the terminal; text that does not fit is cut with an ellipsis. No limit by default. */
  readonly columns?: number;
  /** Whether the last column goes on in further lines, broken at blanks, instead of being cut. */
  readonly wrap?: boolean;
  /** The column that gives way last: what is copied from it must be whole. */
  readonly last?: number;
  /** How headings are marked (`style.dim`, say). */
  readonly markHead?: (text: string) => string;
}

const GAP = "  ";

/**
 * Lays out rows in aligned columns, each line ended by a newline. Widths count what a terminal shows: wide and
 * combining characters and color codes are measured as such. Where the terminal is too narrow the widest columns give
 * way first.
 */
export function formatTable(rows: readonly (readonly string[])[], spec: TableSpec = {}): string {
  const cells = rows.map((row) => row.map(shown));
  const all = spec.head === undefined ? cells : [spec.head, ...cells];
  const count = Math.max(0, ...all.map((row) => row.length));
  const natural = Array.from({ length: count }, (_, column) =>
    Math.max(0, ...all.map((row) => Bun.stringWidth(row[column] ?? ""))),
  );
  const widths = shrink(natural, (spec.columns ?? Infinity) - GAP.length * Math.max(0, count - 1), spec.last);
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

/** Lowers the widest columns, none below 4, until their sum fits; the `last` one when no other can be lowered. */
function shrink(natural: readonly number[], room: number, last: number | undefined): readonly number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, 0) - room;
  for (; excess > 0; excess--) {
    const others = widths.map((width, column) => (column === last ? 0 : width));
    const from = Math.max(...others) > 4 ? others : widths;
    const widest = Math.max(...from);
    if (widest <= 4) break;
    widths[from.indexOf(widest)] = widest - 1;
  }
  return widths;
}
