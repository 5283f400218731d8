import type { AdapterDistance, Distance } from "./distance.ts";
import type { ModuleSpectrum } from "./spectrum.ts";
import { visible } from "../../files/visible.ts";
import { formatMeasure, formatNumber } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";
import type { Page } from "./tensor-report.ts";
import { spectrumPlot } from "./spectrum-terminal.ts";

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
