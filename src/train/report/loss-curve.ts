import type { Metrics } from "../types.ts";
import { type Axis, axesOver, type LossPoint } from "../../terminal/charts/axes.ts";

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
