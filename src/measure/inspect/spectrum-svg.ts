import type { ModuleSpectrum } from "./spectrum.ts";
import { spectrumAxes, type SpectrumKind, spectrumKinds } from "./spectrum-curve.ts";
import type { Point } from "../../terminal/charts/axes.ts";
import { round } from "../../terminal/charts/svg.ts";
import { PALETTE, svgChart } from "../../terminal/charts/svg-chart.ts";

/** Points of one curve: more than pixels can show make the file large. */
const MOST_POINTS = 400;

/**
 * Singular values by their place, on a logarithmic scale, as a figure: one curve a ΔW, one color a kind of module.
 *
 * @param title stands above the plot and names the figure for screen readers
 * @returns an SVG document
 */
export function spectrumSvg(spectra: readonly ModuleSpectrum[], title: string): string {
  const kinds = spectrumKinds(spectra);
  const axes = spectrumAxes(kinds.length === 0 ? NOTHING : kinds, { x: 8, y: 8 });
  const colored = kinds.map((kind, at) => ({ ...kind, color: PALETTE[at % PALETTE.length] ?? "" }));
  const legend = colored.map(({ name: text, color }) => ({ text, color }));
  const opacity = round(Math.max(0.25, Math.min(1, 4 / spectra.length)));
  return svgChart({ title, axes, names: { x: "place", y: "singular value" }, legend }, (_x, _y, path) =>
    colored.flatMap(({ curves, color }) =>
      curves.map((points) => {
        const drawn = path(thinned(points));
        return `<path d="${drawn}" fill="none" stroke="${color}" stroke-opacity="${opacity}" stroke-linecap="round"/>`;
      }),
    ),
  );
}

/** Axes of a figure without curves. */
const NOTHING: readonly SpectrumKind[] = [{ name: "", curves: [[[1, 1]]] }];

/** Evenly spread points, the last among them. */
function thinned(points: readonly Point[]): readonly Point[] {
  const step = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, at) => at % step === 0 || at === points.length - 1);
}
