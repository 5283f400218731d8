import { scaleLinear, scaleLog } from "d3-scale";

/** A point of a curve, in what the axes are in. */
export type Point = readonly [x: number, y: number];

/** A value's place in a figure. */
export type Place = (value: number) => number;

/** A measured loss: after how many steps, in nats. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
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

/** Values beyond an axis lie on its end. @param range places of its ends */
export function placeOn({ from, to, isLog }: Axis, range: Point): Place {
  const scale = isLog === true ? scaleLog([from, to], range) : scaleLinear([from, to], range);
  scale.clamp(true);
  return (value) => scale(value);
}

/** Losses as points of a curve. */
export function pointsOf(losses: readonly LossPoint[]): Point[] {
  return losses.map(({ step, loss }) => [step, loss]);
}

/** Axes that hold these points, in round numbers. */
export function axesOver(
  shown: readonly LossPoint[],
  ticks: { readonly x: number; readonly y: number },
): { x: Axis; y: Axis } {
  const steps = shown.map(({ step }) => step);
  const x = scaleLinear([Math.min(least(steps, 0), 1), Math.max(most(steps, 1), 2)], [0, 1]);
  const whole = x.ticks(ticks.x).filter(Number.isInteger);
  return {
    x: axis(x.domain(), whole, x.tickFormat(ticks.x, "~s")),
    y: roundAxis(
      shown.map(({ loss }) => loss),
      ticks.y,
    ),
  };
}

/** An axis that holds these values, in round numbers. @param ticks how many, about */
export function roundAxis(values: readonly number[], ticks: number): Axis {
  const [low, high] = [least(values, 0), most(values, 1)];
  const scale = scaleLinear(low === high ? [low - 0.5, high + 0.5] : [low, high], [0, 1]).nice(ticks);
  return axis(scale.domain(), scale.ticks(ticks), scale.tickFormat(ticks));
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
