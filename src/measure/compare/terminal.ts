import { pointsOf } from "../../terminal/charts/axes.ts";
import type { Style } from "../../terminal/style.ts";
import { curveAxes, type MethodCurve } from "./curves.ts";
import { terminalChart } from "../../terminal/charts/terminal-chart.ts";

/** What tells curves apart where there are no colors, too. */
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/**
 * The losses of all methods as text: means over the seeds, each curve with a letter at its end; below them the names.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline; none without a step
 */
export function curvesPlot(curves: readonly MethodCurve[], columns: number, style: Style): string {
  if (curves.length === 0) return "";
  const paints = [style.cyan, style.yellow, style.green, style.red, (text: string) => text];
  const drawn = curves.map((curve, at) => {
    return { ...curve, letter: LETTERS[at % LETTERS.length] ?? "", paint: paints[at % paints.length] ?? String };
  });
  const chart = {
    title: "loss by step, mean over the seeds",
    axes: curveAxes(curves, { x: 5, y: 4 }),
    curves: drawn.map(({ mean, paint }) => ({ points: pointsOf(mean), paint })),
    marks: drawn.flatMap(({ mean, letter, paint }) =>
      pointsOf(mean.slice(-1)).map((at) => ({ at, text: paint(letter) })),
    ),
  };
  const names = drawn.map(({ letter, name, paint }) => `${paint(letter)} ${name}`).join("   ");
  return `${terminalChart(chart, columns, style)}${names}\n`;
}
