import { type Axis, placeOn, type Point } from "./axes.ts";
import type { Style } from "../style.ts";

const ROWS = 12;
const MOST_COLUMNS = 100;
/** Columns where there is no terminal to ask. */
const USUAL_COLUMNS = 76;

/** What a plot in the terminal shows. */
export interface TerminalChart {
  readonly title: string;
  readonly axes: { readonly x: Axis; readonly y: Axis };
  /** In braille dots, two by four a character. Where two meet, a later one gives the color. */
  readonly curves: readonly { readonly points: readonly Point[]; paint(text: string): string }[];
  /** Characters of one column on top of the curves, with their colors. */
  readonly marks: readonly { readonly at: Point; readonly text: string }[];
}

/**
 * Draws a chart as text.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline
 */
export function terminalChart({ title, axes, curves, marks }: TerminalChart, columns: number, style: Style): string {
  const labels = new Map(axes.y.ticks.map((tick) => [tick, axes.y.format(tick)]));
  const margin = Math.max(...[...labels.values()].map((text) => text.length)) + 2;
  const width = Math.max(Math.min(Number.isFinite(columns) ? columns - 1 : USUAL_COLUMNS, MOST_COLUMNS) - margin, 8);
  const x = placeOn(axes.x, [0, 2 * width - 1]);
  const y = placeOn(axes.y, [4 * ROWS - 1, 0]);
  const canvas = new Canvas(width, ROWS);
  const place = ([at, value]: Point): [number, number] => [Math.round(x(at)), Math.round(y(value))];
  for (const [curve, { points }] of curves.entries()) {
    for (const [i, point] of points.entries()) canvas.line(place(points[i - 1] ?? point), place(point), curve);
  }
  const placed = new Map<string, string>();
  for (const { at, text } of marks) {
    let [column, row] = place(at);
    [column, row] = [column >> 1, row >> 2];
    // Curves may end at the same place: one mark is put before the other.
    while (column > 0 && (placed.get(cell(column, row)) ?? text) !== text) column -= 1;
    placed.set(cell(column, row), text);
  }
  const drawn = (column: number, row: number): string => {
    const mark = placed.get(cell(column, row));
    if (mark !== undefined) return mark;
    const text = canvas.at(column, row);
    return text === " " ? text : (curves[canvas.lastAt(column, row)]?.paint(text) ?? text);
  };
  const rows = new Map([...labels].map(([tick, text]) => [Math.round(y(tick)) >> 2, text]));
  const lines = Array.from({ length: ROWS }, (_, row) => {
    const label = rows.get(row) ?? "";
    const line = Array.from({ length: width }, (__, column) => drawn(column, row));
    return `${style.dim(`${label.padStart(margin - 2)} ${label === "" ? "│" : "┤"}`)}${line.join("").trimEnd()}`;
  });
  const steps = columnLabels(
    axes.x.ticks.map((tick) => [Math.round(x(tick)) >> 1, axes.x.format(tick)]),
    width,
  );
  const foot = [`${" ".repeat(margin - 1)}└${"─".repeat(width)}`, `${" ".repeat(margin)}${steps}`];
  return `${[title, ...lines, ...foot.map((line) => style.dim(line.trimEnd()))].join("\n")}\n`;
}

function cell(column: number, row: number): string {
  return `${column},${row}`;
}

/** Dots of a braille character, column by column, top to bottom: bits of the code point behind U+2800. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/** A drawing in braille dots. */
class Canvas {
  readonly #columns: number;
  readonly #cells: Uint8Array;
  /** Of each cell, the curve that came last. */
  readonly #curves: Uint16Array;

  constructor(columns: number, rows: number) {
    this.#columns = columns;
    this.#cells = new Uint8Array(columns * rows);
    this.#curves = new Uint16Array(columns * rows);
  }

  /** Sets the dots between two points of a curve, ends included. */
  line([x, y]: readonly [number, number], [endX, endY]: readonly [number, number], curve = 0): void {
    const steps = Math.max(Math.abs(endX - x), Math.abs(endY - y), 1);
    for (let i = 0; i <= steps; i++) {
      this.#set(Math.round(x + ((endX - x) * i) / steps), Math.round(y + ((endY - y) * i) / steps), curve);
    }
  }

  /** The character with a place's dots; a blank for none. */
  at(column: number, row: number): string {
    const dots = this.#cells[row * this.#columns + column] ?? 0;
    return dots === 0 ? " " : String.fromCodePoint(0x2800 + dots);
  }

  /** The number of the curve that came last to a character. */
  lastAt(column: number, row: number): number {
    return this.#curves[row * this.#columns + column] ?? 0;
  }

  #set(x: number, y: number, curve: number): void {
    const at = (y >> 2) * this.#columns + (x >> 1);
    this.#cells[at] = (this.#cells[at] ?? 0) | (DOTS[x & 1]?.[y & 3] ?? 0);
    this.#curves[at] = curve;
  }
}

/** Labels below their columns; one that would touch the one before it is left out. */
function columnLabels(labels: readonly (readonly [column: number, text: string])[], width: number): string {
  let line = "";
  for (const [column, text] of labels) {
    const start = Math.min(Math.max(0, column - (text.length >> 1)), width - text.length);
    if (line !== "" && start <= line.length) continue;
    line = line.padEnd(start) + text;
  }
  return line;
}
