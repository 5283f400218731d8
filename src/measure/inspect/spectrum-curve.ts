import { scaleLinear } from "d3-scale";
import type { ModuleSpectrum } from "./spectrum.ts";
import type { Axis, Point } from "../../terminal/charts/axes.ts";

/** The curves of modules of one kind, such as `q_proj`: singular values by their places among those of their ΔW, from 1. */
export interface SpectrumKind {
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
