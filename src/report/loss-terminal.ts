import { scaleLinear } from "d3-scale";
import { axesOf, type LossCurve, type LossPoint } from "./loss-curve.ts";
import type { Style } from "../terminal/style.ts";

/** Dots of a braille character, column by column, top to bottom: bits of the code point behind U+2800. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;
const ROWS = 12;
const MOST_COLUMNS = 100;
/** Columns where there is no terminal to ask. */
const USUAL_COLUMNS = 76;

/**
 * A run's losses as text: the smoothed curve in braille dots (two by four a character), validation losses as `●`.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline; none for a run without steps
 */
export function lossPlot(curve: LossCurve, columns: number, style: Style): string {
  if (curve.smooth.length + curve.valid.length === 0) return "";
  const axes = axesOf(curve, { x: 5, y: 4 });
  const labels = new Map(axes.y.ticks.map((tick) => [tick, axes.y.format(tick)]));
  const margin = Math.max(...[...labels.values()].map((text) => text.length)) + 2;
  const width = Math.max(Math.min(Number.isFinite(columns) ? columns - 1 : USUAL_COLUMNS, MOST_COLUMNS) - margin, 8);
  const x = scaleLinear([axes.x.from, axes.x.to], [0, 2 * width - 1]);
  const y = scaleLinear([axes.y.from, axes.y.to], [4 * ROWS - 1, 0]).clamp(true);
  const canvas = new Canvas(width, ROWS);
  const place = ({ step, loss }: LossPoint): [number, number] => [Math.round(x(step)), Math.round(y(loss))];
  for (const [i, point] of curve.smooth.entries()) canvas.line(place(curve.smooth[i - 1] ?? point), place(point));
  const marks = new Map(
    curve.valid.map((point) => {
      const [column, row] = place(point);
      return [cell(column >> 1, row >> 2), style.yellow("●")];
    }),
  );
  const rows = new Map([...labels].map(([tick, text]) => [Math.round(y(tick)) >> 2, text]));
  const lines = Array.from({ length: ROWS }, (_, row) => {
    const label = rows.get(row) ?? "";
    const drawn = Array.from({ length: width }, (__, column) => marks.get(cell(column, row)) ?? canvas.at(column, row));
    return `${style.dim(`${label.padStart(margin - 2)} ${label === "" ? "│" : "┤"}`)}${drawn.join("").trimEnd()}`;
  });
  const steps = stepLabels(
    axes.x.ticks.map((tick) => [Math.round(x(tick)) >> 1, axes.x.format(tick)]),
    width,
  );
  const foot = [`${" ".repeat(margin - 1)}└${"─".repeat(width)}`, `${" ".repeat(margin)}${steps}`];
  const key = curve.valid.length === 0 ? "" : `, ${style.yellow("●")} validation`;
  return `${["loss by step" + key, ...lines, ...foot.map((line) => style.dim(line.trimEnd()))].join("\n")}\n`;
}

function cell(column: number, row: number): string {
  return `${column},${row}`;
}

/** Labels below their columns; one that would touch the one before it is left out. */
function stepLabels(labels: readonly (readonly [column: number, text: string])[], width: number): string {
  let line = "";
  for (const [column, text] of labels) {
    const start = Math.min(Math.max(0, column - (text.length >> 1)), width - text.length);
    if (line !== "" && start <= line.length) continue;
    line = line.padEnd(start) + text;
  }
  return line;
}

/** A drawing in braille dots. */
class Canvas {
  readonly #columns: number;
  readonly #cells: Uint8Array;

  constructor(columns: number, rows: number) {
    this.#columns = columns;
    this.#cells = new Uint8Array(columns * rows);
  }

  /** Sets the dots between two points, ends included. */
  line([x, y]: readonly [number, number], [endX, endY]: readonly [number, number]): void {
    const steps = Math.max(Math.abs(endX - x), Math.abs(endY - y), 1);
    for (let i = 0; i <= steps; i++) {
      this.#set(Math.round(x + ((endX - x) * i) / steps), Math.round(y + ((endY - y) * i) / steps));
    }
  }

  at(column: number, row: number): string {
    const dots = this.#cells[row * this.#columns + column] ?? 0;
    return dots === 0 ? " " : String.fromCodePoint(0x2800 + dots);
  }

  #set(x: number, y: number): void {
    const at = (y >> 2) * this.#columns + (x >> 1);
    this.#cells[at] = (this.#cells[at] ?? 0) | (DOTS[x & 1]?.[y & 3] ?? 0);
  }
}
