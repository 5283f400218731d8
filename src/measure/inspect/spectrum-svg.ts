import { line } from "d3-shape";
import type { ModuleSpectrum } from "./spectrum.ts";
import { spectrumAxes, spectrumKinds, type SpectrumPoint, spectrumScales } from "./spectrum-curve.ts";
import { escape, label, round } from "../../terminal/charts/svg.ts";

const WIDTH = 760;
const HEIGHT = 420;
const MARGIN = { top: 56, right: 24, bottom: 48, left: 64 } as const;
/** Legible on white and on black: the figure has no background of its own. */
const TEXT = "#7f7f7f";
const COLORS = ["#2f7ed8", "#e0712b", "#2e9e5b", "#b04bc9", "#c93b4e", "#8c7a2b", "#1f9aa8"] as const;
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
  const { x, y } = spectrumScales(axes, [MARGIN.left, WIDTH - MARGIN.right], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const path = line<SpectrumPoint>(
    ({ index }) => x(index),
    ({ value }) => y(value),
  ).digits(1);
  const opacity = Math.max(0.25, Math.min(1, 4 / spectra.length));
  const curves = kinds.flatMap(({ curves: of }, at) =>
    of.map((points) => {
      const drawn = path(thinned(points)) ?? "";
      return `<path d="${drawn}" fill="none" stroke="${color(at)}" stroke-opacity="${round(opacity)}" stroke-linecap="round"/>`;
    }),
  );
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="${TEXT}">`,
    `<title>${escape(title)}</title>`,
    label(MARGIN.left, 22, "start", title, 'font-size="14" font-weight="600"'),
    ...axes.y.ticks.flatMap((tick) => [
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${round(y(tick))}" y2="${round(y(tick))}" stroke="${TEXT}" stroke-opacity="0.25"/>`,
      label(MARGIN.left - 8, y(tick) + 4, "end", axes.y.format(tick)),
    ]),
    ...axes.x.ticks.map((tick) => label(x(tick), HEIGHT - MARGIN.bottom + 18, "middle", axes.x.format(tick))),
    label((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 10, "middle", "place"),
    `<text transform="translate(16 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">singular value</text>`,
    ...curves,
    ...legend(kinds.map(({ name }) => name)),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

/** Axes of a figure without curves. */
const NOTHING = [{ name: "", curves: [[{ index: 1, value: 1 }]] }];

/** Evenly spread points, the last among them. */
function thinned(points: readonly SpectrumPoint[]): readonly SpectrumPoint[] {
  const step = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, at) => at % step === 0 || at === points.length - 1);
}

function legend(names: readonly string[]): string[] {
  let at: number = MARGIN.left;
  return names.flatMap((name, index) => {
    const start = at;
    at += 40 + 7 * name.length;
    return [
      `<line x1="${start}" x2="${start + 18}" y1="40" y2="40" stroke="${color(index)}" stroke-width="3"/>`,
      label(start + 24, 44, "start", name),
    ];
  });
}

function color(index: number): string {
  return COLORS[index % COLORS.length] ?? TEXT;
}
