import { scaleLinear } from "d3-scale";
import type { Metrics } from "../train/types.ts";

/** A measured loss: after how many steps, in nats. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

/** What a loss plot shows. */
export interface LossCurve {
  /** Of every step. */
  readonly train: readonly LossPoint[];
  /** The same, smoothed: what a plot with few pixels can show. */
  readonly smooth: readonly LossPoint[];
  readonly valid: readonly LossPoint[];
}

/** An axis: what it spans and where its ticks are. */
export interface Axis {
  readonly from: number;
  readonly to: number;
  readonly ticks: readonly number[];
  /** Equal factors are equally far apart. */
  readonly isLog?: boolean;
  /** How ticks are written. */
  format(tick: number): string;
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
 * Axes that hold the smoothed curve and the validation losses. Single steps that lie far off may leave the picture: they
 * would press the rest flat.
 *
 * @param ticks about how many ticks the axes should have
 */
export function axesOf(curve: LossCurve, ticks: { readonly x: number; readonly y: number }): { x: Axis; y: Axis } {
  return axesOver([...curve.smooth, ...curve.valid], ticks);
}

/** Axes that hold these points, in round numbers. */
export function axesOver(
  shown: readonly LossPoint[],
  ticks: { readonly x: number; readonly y: number },
): { x: Axis; y: Axis } {
  const steps = shown.map(({ step }) => step);
  const losses = shown.map(({ loss }) => loss);
  const y = scaleLinear([least(losses, 0), most(losses, 1)], [0, 1]);
  if (y(1) === y(0)) y.domain([least(losses, 0) - 0.5, most(losses, 1) + 0.5]);
  y.nice(ticks.y);
  const x = scaleLinear([Math.min(least(steps, 0), 1), Math.max(most(steps, 1), 2)], [0, 1]);
  const whole = x.ticks(ticks.x).filter(Number.isInteger);
  return {
    x: axis(x.domain(), whole, x.tickFormat(ticks.x, "~s")),
    y: axis(y.domain(), y.ticks(ticks.y), y.tickFormat(ticks.y)),
  };
}

function axis(domain: readonly number[], ticks: readonly number[], format: (tick: number) => string): Axis {
  return { from: domain[0] ?? 0, to: domain[1] ?? 1, ticks, format };
}

/** Not Math.min: a run may have more steps than a call takes arguments. */
function least(values: readonly number[], none: number): number {
  return values.reduce((a, b) => Math.min(a, b), values[0] ?? none);
}

function most(values: readonly number[], none: number): number {
  return values.reduce((a, b) => Math.max(a, b), values[0] ?? none);
}
