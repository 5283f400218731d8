import { scaleLinear } from "d3-scale";
import { axesOf, type LossCurve, type LossPoint } from "./loss-curve.ts";
import type { Style } from "../terminal/style.ts";
import { Canvas, columnLabels } from "./canvas.ts";

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
  const steps = columnLabels(
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
