import type { ModuleSpectrum } from "./spectrum.ts";
import { visible } from "../../files/visible.ts";
import type { Style } from "../../terminal/style.ts";
import { braille, Canvas, columnLabels } from "../../terminal/charts/canvas.ts";
import { spectrumAxes, spectrumKinds, type SpectrumPoint, spectrumScales } from "./spectrum-curve.ts";

const ROWS = 14;
const MOST_COLUMNS = 100;
/** Columns where there is no terminal to ask. */
const USUAL_COLUMNS = 76;

/**
 * Singular values by their place, on a logarithmic scale, in braille dots: one curve a ΔW, one color a kind of module.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline; none where every ΔW is zero
 */
export function spectrumPlot(spectra: readonly ModuleSpectrum[], columns: number, style: Style): string {
  const kinds = spectrumKinds(spectra);
  if (kinds.length === 0) return "";
  const axes = spectrumAxes(kinds, { x: 5, y: 5 });
  const labels = axes.y.ticks.map((tick) => [tick, axes.y.format(tick)] as const);
  const margin = Math.max(...labels.map(([, text]) => text.length)) + 2;
  const width = Math.max(Math.min(Number.isFinite(columns) ? columns - 1 : USUAL_COLUMNS, MOST_COLUMNS) - margin, 8);
  const { x, y } = spectrumScales(axes, [0, 2 * width - 1], [4 * ROWS - 1, 0]);
  const place = ({ index, value }: SpectrumPoint): [number, number] => [Math.round(x(index)), Math.round(y(value))];
  const colors = [style.cyan, style.yellow, style.green, style.red, (text: string) => text];
  const drawings = kinds.map(({ name, curves }, at) => {
    const canvas = new Canvas(width, ROWS);
    for (const points of curves) {
      for (const [i, point] of points.entries()) canvas.line(place(points[i - 1] ?? point), place(point));
    }
    return { name, canvas, color: colors[at % colors.length] ?? style.dim };
  });
  const rows = new Map(labels.map(([tick, text]) => [Math.round(y(tick)) >> 2, text]));
  const lines = Array.from({ length: ROWS }, (_, row) => {
    const label = rows.get(row) ?? "";
    const drawn = Array.from({ length: width }, (__, column) => {
      const there = drawings.filter(({ canvas }) => canvas.dotsAt(column, row) !== 0);
      const dots = there.reduce((sum, { canvas }) => sum | canvas.dotsAt(column, row), 0);
      return there[0]?.color(braille(dots)) ?? " ";
    });
    return `${style.dim(`${label.padStart(margin - 2)} ${label === "" ? "│" : "┤"}`)}${drawn.join("").trimEnd()}`;
  });
  const places = columnLabels(
    axes.x.ticks.map((tick) => [Math.round(x(tick)) >> 1, axes.x.format(tick)]),
    width,
  );
  const foot = [`${" ".repeat(margin - 1)}└${"─".repeat(width)}`, `${" ".repeat(margin)}${places}`];
  const key = drawings.map(({ name, color }) => color(visible(name))).join(", ");
  const title = `singular values of ΔW by their place: ${key}`;
  return `${[title, ...lines, ...foot.map((line) => style.dim(line.trimEnd()))].join("\n")}\n`;
}
