import { pointsOf } from "../../terminal/charts/axes.ts";
import type { Style } from "../../terminal/style.ts";
import { axesOf, type LossCurve } from "./loss-curve.ts";
import { terminalChart } from "../../terminal/charts/terminal-chart.ts";

/**
 * A run's losses as text: the smoothed curve in braille dots (two by four a character), validation losses as `●`.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline; none for a run without steps
 */
export function lossPlot(curve: LossCurve, columns: number, style: Style): string {
  if (curve.smooth.length + curve.valid.length === 0) return "";
  const key = curve.valid.length === 0 ? "" : `, ${style.yellow("●")} validation`;
  const chart = {
    title: `loss by step${key}`,
    axes: axesOf(curve, { x: 5, y: 4 }),
    curves: [{ points: pointsOf(curve.smooth), paint: (text: string) => text }],
    marks: pointsOf(curve.valid).map((at) => ({ at, text: style.yellow("●") })),
  };
  return terminalChart(chart, columns, style);
}
