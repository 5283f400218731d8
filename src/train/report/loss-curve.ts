import { PALETTE, round, svgChart } from "../../terminal/charts/svg-chart.ts";
import { terminalChart } from "../../terminal/charts/terminal-chart.ts";
import type { Style } from "../../terminal/style.ts";
import type { Metrics } from "../types.ts";
import { axesOver, type Axis, type LossPoint, pointsOf } from "../../terminal/charts/axes.ts";

/** What a loss plot shows. */
export interface LossCurve {
  /** Of every step. */
  readonly train: readonly LossPoint[];
  /** The same, smoothed: what a plot with few pixels can show. */
  readonly smooth: readonly LossPoint[];
  readonly valid: readonly LossPoint[];
}

/** Number of windows that a smoothed curve is made of at most, each as wide as it looks back. */
const WINDOWS = 50;

/** The curves of a run's metrics. Values that are not finite are left out. */
export function lossCurve(metrics: readonly Metrics[]): LossCurve {
  const finite = (points: readonly LossPoint[]) => points.filter(({ loss }) => Number.isFinite(loss));
  const train = finite(metrics.flatMap((one) => ("loss" in one ? [{ step: one.step, loss: one.loss }] : [])));
  const valid = finite(
    metrics.flatMap((one) => ("valid_loss" in one ? [{ step: one.step, loss: one.valid_loss }] : [])),
  );
  return { train, smooth: smoothed(train), valid };
}

/** Mean of each point and those before it, as many as a fiftieth of the run. */
function smoothed(points: readonly LossPoint[]): LossPoint[] {
  const width = Math.ceil(points.length / WINDOWS);
  let sum = 0;
  return points.map(({ step, loss }, i) => {
    sum += loss - (points[i - width]?.loss ?? 0);
    return { step, loss: sum / Math.min(i + 1, width) };
  });
}

/**
 * Axes that hold the smoothed curve and the validation losses. Single steps that lie far off may leave the figure: they
 * would press the rest flat.
 *
 * @param ticks about how many ticks the axes should have
 */
export function axesOf(curve: LossCurve, ticks: { readonly x: number; readonly y: number }): { x: Axis; y: Axis } {
  return axesOver([...curve.smooth, ...curve.valid], ticks);
}

const [TRAIN, VALID] = PALETTE;

/** Points of the smoothed curve, about, at most: each is a mean over a fiftieth of the run. */
const SMOOTH_POINTS = 200;

/**
 * A run's losses as a figure: every step (faint), the smoothed curve, and the validation losses with the lowest marked.
 *
 * @param title stands above the plot and names the figure for screen readers
 * @returns an SVG document
 */
export function lossSvg(curve: LossCurve, title: string): string {
  const best = curve.valid.reduce<LossPoint | undefined>(
    (low, point) => (low === undefined || point.loss < low.loss ? point : low),
    undefined,
  );
  const lowest = best === undefined ? "" : `validation (lowest: ${best.loss.toFixed(4)} at step ${best.step})`;
  const legend = [
    { text: "training", color: TRAIN, shown: curve.train.length > 0 },
    { text: lowest, color: VALID, shown: best !== undefined },
  ].filter(({ shown }) => shown);
  const axes = axesOf(curve, { x: 8, y: 6 });
  return svgChart({ title, axes, names: { x: "step", y: "loss" }, legend }, (x, y, path) => {
    const draw = (points: readonly LossPoint[], color: string, width: number, opacity: number): string =>
      points.length < 2
        ? ""
        : `<path d="${path(pointsOf(points))}" fill="none" stroke="${color}" stroke-width="${width}" stroke-opacity="${opacity}" stroke-linejoin="round"/>`;
    const dots = curve.valid.map(
      (point) =>
        `<circle cx="${round(x(point.step))}" cy="${round(y(point.loss))}" r="${point === best ? 5 : 3}" fill="${VALID}"><title>step ${point.step}: ${point.loss.toFixed(4)}</title></circle>`,
    );
    return [
      draw(curve.train, TRAIN, 1, 0.3),
      draw(thinned(curve.smooth), TRAIN, 2, 1),
      draw(curve.valid, VALID, 2, 1),
      ...dots,
    ];
  });
}

function thinned(points: readonly LossPoint[]): LossPoint[] {
  const stride = Math.ceil(points.length / SMOOTH_POINTS);
  return points.filter((_, index) => index % stride === 0 || index === points.length - 1);
}

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
