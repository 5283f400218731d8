import type { ModuleSpectrum } from "./spectrum.ts";
import { visible } from "../../files/visible.ts";
import { terminalChart } from "../../terminal/charts/terminal-chart.ts";
import type { Style } from "../../terminal/style.ts";
import { spectrumAxes, spectrumKinds } from "./spectrum-curve.ts";

/**
 * Singular values by their place, on a logarithmic scale, in braille dots: one curve a ΔW, one color a kind of module.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline; none where every ΔW is zero
 */
export function spectrumPlot(spectra: readonly ModuleSpectrum[], columns: number, style: Style): string {
  const kinds = spectrumKinds(spectra);
  if (kinds.length === 0) return "";
  const paints = [style.cyan, style.yellow, style.green, style.red, (text: string) => text];
  const painted = kinds.map((kind, at) => ({ ...kind, paint: paints[at % paints.length] ?? style.dim }));
  const key = painted.map(({ name, paint }) => paint(visible(name))).join(", ");
  const chart = {
    title: `singular values of ΔW by their place: ${key}`,
    axes: spectrumAxes(kinds, { x: 5, y: 5 }),
    curves: painted.flatMap(({ curves, paint }) => curves.map((points) => ({ points, paint }))),
    marks: [],
  };
  return terminalChart(chart, columns, style);
}
