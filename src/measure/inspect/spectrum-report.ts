import { scaleLinear } from "d3-scale";
import type { Axis, Point } from "../../terminal/charts/axes.ts";
import { PALETTE, round, svgChart } from "../../terminal/charts/svg-chart.ts";
import { terminalChart } from "../../terminal/charts/terminal-chart.ts";
import type { Style } from "../../terminal/style.ts";
import type { AdapterDistance, Distance, ModuleSpectrum } from "./spectrum.ts";
import { visible } from "../../files/visible.ts";
import { formatMeasure, formatNumber } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";
import type { Page } from "./tensor-groups.ts";

/** @json inspect --spectrum, --against */
export interface DeltasJson {
  readonly spectrum?: readonly {
    readonly module: string;
    readonly shape: readonly number[];
    readonly frobenius_norm: number;
    /** exp(−Σ p ln p), p = s/Σs. */
    readonly effective_rank: number;
    /** Singular values above 1e-6 of the largest. */
    readonly numerical_rank: number;
    /** Top 10, ε 0.5 (arXiv:2410.21228). */
    readonly intruders?: number;
    /** Not zero. */
    readonly singular_values: readonly number[];
  }[];
  readonly against?: DistanceJson;
}

interface DistanceJson extends FiguresJson {
  readonly path: string;
  /** module and the same figures. */
  readonly modules: readonly object[];
}

interface FiguresJson {
  /** ‖ΔW − other‖/‖ΔW‖. */
  readonly relative: number | null;
  readonly cosine: number | null;
  readonly norm: number;
  readonly other_norm: number;
}

/** `spectrum` of `inspect --json`. */
export function spectrumJson(spectra: readonly ModuleSpectrum[]): NonNullable<DeltasJson["spectrum"]> {
  return spectra.map(({ module, out, in: input, values, norm, effectiveRank, numericalRank, intruders }) => ({
    module,
    shape: [out, input],
    frobenius_norm: norm,
    effective_rank: effectiveRank,
    numerical_rank: numericalRank,
    ...(intruders === undefined ? {} : { intruders }),
    singular_values: [...values],
  }));
}

/** A table of the modules, and a plot. */
export function spectrumText(spectra: readonly ModuleSpectrum[], { columns, style }: Page): string {
  const isCounted = spectra.some(({ intruders }) => intruders !== undefined);
  const rows = spectra.map(({ module, out, in: input, values, norm, effectiveRank, numericalRank, intruders }) => [
    visible(module),
    `${formatNumber(out)} × ${formatNumber(input)}`,
    formatMeasure(norm),
    formatMeasure(values[0] ?? 0),
    formatNumber(effectiveRank, 1),
    `${formatNumber(numericalRank)} of ${formatNumber(Math.min(out, input))}`,
    ...(isCounted ? [formatNumber(intruders ?? 0)] : []),
  ]);
  if (isCounted) {
    const sum = spectra.reduce((total, { intruders = 0 }) => total + intruders, 0);
    rows.push(["all", "", "", "", "", "", formatNumber(sum)]);
  }
  const head = ["ΔW of", "shape", "norm", "largest", "effective rank", "rank", ...(isCounted ? ["intruders"] : [])];
  const table = formatTable(rows, { head, align: "lrrrrrr".slice(0, head.length), columns, markHead: style.dim });
  const plot = spectrumPlot(spectra, columns, style);
  return `\n${table}${plot === "" ? "" : `\n${plot}`}`;
}

/** `against` of `inspect --json`. */
export function distanceJson({ all, modules }: AdapterDistance, path: string): DistanceJson {
  return { path, ...figures(all), modules: modules.map((one) => ({ module: one.module, ...figures(one) })) };
}

function figures({ norm, otherNorm, relative, cosine }: Distance): FiguresJson {
  return { relative, cosine, norm, other_norm: otherNorm };
}

/** How far two adapters are from each other, by module and in all. */
export function distanceText({ all, modules }: AdapterDistance, path: string, { columns, style }: Page): string {
  const row = (name: string, { norm, otherNorm, relative, cosine }: Distance) => [
    name,
    formatMeasure(norm),
    formatMeasure(otherNorm),
    relative === null ? "" : formatMeasure(relative),
    cosine === null ? "" : cosine.toFixed(4),
  ];
  const rows = [...modules.map((one) => row(visible(one.module), one)), row("all", all)];
  const head = ["ΔW of", "norm", "other's norm", "difference / norm", "cosine"];
  const table = formatTable(rows, { head, align: "lrrrr", columns, markHead: style.dim });
  return `\nagainst ${visible(path)}\n${table}`;
}

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

/** The curves of modules of one kind, such as `q_proj`: singular values by their places among those of their ΔW, from 1. */
interface SpectrumKind {
  readonly name: string;
  readonly curves: readonly (readonly Point[])[];
}

/** Below this part of the largest value f32 and squaring have left nothing to be seen. */
const FLOOR = 1e-8;

/** Curves by kind; what is not above the floor is left out. */
export function spectrumKinds(spectra: readonly ModuleSpectrum[]): SpectrumKind[] {
  const largest = Math.max(0, ...spectra.map(({ values }) => values[0] ?? 0));
  const kinds = Map.groupBy(spectra, ({ module }) => module.slice(module.lastIndexOf(".") + 1));
  return [...kinds].flatMap(([name, members]) => {
    const curves = members
      .map(({ values }) => [...values].map((value, at): Point => [at + 1, value]))
      .map((points) => points.filter(([, value]) => value > FLOOR * largest))
      .filter((points) => points.length > 0);
    return curves.length === 0 ? [] : [{ name, curves }];
  });
}

/** Axes that hold every curve: places from 1 on, values in powers of ten. */
export function spectrumAxes(
  kinds: readonly SpectrumKind[],
  ticks: { readonly x: number; readonly y: number },
): { x: Axis; y: Axis } {
  const curves = kinds.flatMap((kind) => kind.curves);
  const last = Math.max(2, ...curves.map((points) => points.at(-1)?.[0] ?? 1));
  const [from, to] = [
    Math.floor(Math.log10(Math.min(...curves.map((points) => points.at(-1)?.[1] ?? 1)))),
    Math.ceil(Math.log10(Math.max(...curves.map((points) => points[0]?.[1] ?? 1)))),
  ];
  const top = Math.max(to, from + 1);
  const step = Math.ceil((top - from) / ticks.y);
  const powers = Array.from({ length: Math.floor((top - from) / step) + 1 }, (_, k) => from + k * step);
  const x = scaleLinear([1, last], [0, 1]);
  return {
    x: { from: 1, to: last, ticks: x.ticks(ticks.x).filter(Number.isInteger), format: x.tickFormat(ticks.x, "~s") },
    y: {
      from: 10 ** from,
      to: 10 ** top,
      ticks: powers.map((power) => 10 ** power),
      isLog: true,
      format: (tick) => `1e${Math.round(Math.log10(tick))}`,
    },
  };
}
