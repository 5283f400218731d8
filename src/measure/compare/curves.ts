import { scaleLog } from "d3-scale";
import { measureOf, summaries } from "./contest.ts";
import type { Measure, MethodSummary } from "./options.ts";
import { plannedRuns } from "./plan.ts";
import type { ComparisonRecord } from "./record.ts";
import type { Spread } from "./statistics.ts";
import { formatLabel, isReference, parseLabel, type PlannedRun } from "./types.ts";
import { formatCount } from "../../terminal/format.ts";
import type { Metrics } from "../../train/types.ts";
import { type Axis, axesOver, type LossPoint, roundAxis } from "../../terminal/charts/axes.ts";
import { lossCurve } from "../../train/report/loss-curve.ts";

/** The losses of a method over its seeds. */
export interface MethodCurve {
  readonly name: string;
  /** Mean of the seeds' smoothed losses, and the lowest and highest of them at each step. */
  readonly mean: readonly LossPoint[];
  readonly band: readonly { readonly step: number; readonly low: number; readonly high: number }[];
  /** Means of the validation losses. */
  readonly valid: readonly LossPoint[];
}

/**
 * One curve a contender that has begun.
 * @param metrics of each planned run, in their order
 */
export function methodCurves(
  { comparison }: ComparisonRecord,
  metrics: readonly (readonly Metrics[])[],
): MethodCurve[] {
  const runs = plannedRuns(comparison);
  const several = comparison.budgets.length > 1;
  return comparison.contenders.flatMap((contender) => {
    const own = runs.flatMap((run: PlannedRun, at) =>
      run.contender === contender ? [lossCurve(metrics[at] ?? [])] : [],
    );
    const steps = over(own.map(({ smooth }) => smooth));
    if (steps.length === 0) return [];
    const { label, budget } = contender;
    return [
      {
        name: several && budget !== null ? `${label} ${formatCount(budget)}` : label,
        mean: steps.map(({ step, losses }) => ({ step, loss: mean(losses) })),
        band: steps.map(({ step, losses }) => ({ step, low: Math.min(...losses), high: Math.max(...losses) })),
        valid: over(own.map(({ valid }) => valid)).map(({ step, losses }) => ({ step, loss: mean(losses) })),
      },
    ];
  });
}

/** The losses of several runs at each step that any of them has, in their order. */
function over(curves: readonly (readonly LossPoint[])[]): { readonly step: number; readonly losses: number[] }[] {
  const steps = new Map<number, number[]>();
  for (const { step, loss } of curves.flat()) steps.set(step, [...(steps.get(step) ?? []), loss]);
  return [...steps].map(([step, losses]) => ({ step, losses })).toSorted((a, b) => a.step - b.step);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Axes of all curves: without the bands, where single seeds may lie far off. */
export function curveAxes(curves: readonly MethodCurve[], ticks: { readonly x: number; readonly y: number }) {
  return axesOver(
    curves.flatMap(({ mean: points, valid }) => [...points, ...valid]),
    ticks,
  );
}

/** A method's loss at a number of trainable parameters. */
export interface SizePoint {
  readonly parameters: number;
  readonly loss: Spread;
}

/** Loss against trained parameters, as figure 1 of the paper (arXiv:2502.00987) has accuracy. */
export interface SizeFigure {
  readonly measure: string;
  readonly methods: readonly { readonly name: string; readonly points: readonly SizePoint[] }[];
  /** Those that train the model itself: a level, since they would press the rest together. */
  readonly references: readonly { readonly name: string; readonly point: SizePoint }[];
}

export function sizeFigure({ comparison, results }: ComparisonRecord): SizeFigure {
  const key = measureOf(results);
  const all = summaries(comparison, results);
  const pointOf = ({ parameters, [key]: loss }: MethodSummary): SizePoint[] =>
    parameters === null || loss === null ? [] : [{ parameters, loss }];
  const bound = all.filter((one) => !isReference(one));
  return {
    measure: nameOfMeasure(key),
    methods: [...new Set(bound.map(({ method }) => method))].flatMap((name) => {
      const points = bound.filter(({ method }) => method === name).flatMap(pointOf);
      return points.length === 0 ? [] : [{ name, points: points.toSorted((a, b) => a.parameters - b.parameters) }];
    }),
    references: all.filter(isReference).flatMap((one) => pointOf(one).map((point) => ({ name: one.method, point }))),
  };
}

/** What a contender costs in held-out loss and in forgetting. */
export interface TradePoint {
  readonly name: string;
  readonly forgetting: Spread;
  readonly loss: Spread;
  /** Nobody else has less of one and no more of the other. */
  readonly isOnFront: boolean;
}

/** Held-out loss against forgetting, one curve a method. */
export interface TradeFigure {
  readonly measure: string;
  readonly methods: readonly { readonly name: string; readonly points: readonly TradePoint[] }[];
  readonly axes: { readonly x: Axis; readonly y: Axis };
}

/** @returns undefined where forgetting was not measured */
export function tradeFigure({ comparison, results }: ComparisonRecord): TradeFigure | undefined {
  const key = measureOf(results);
  const points = summaries(comparison, results).flatMap(({ method, budget, forgetting, [key]: loss }) => {
    const size = comparison.budgets.length > 1 && budget !== null ? ` ${formatCount(budget)}` : "";
    const { family, rates, alphas } = parseLabel(method);
    // Over what is swept; of two values over rates, a curve for each α.
    const curve = formatLabel({ family, rates: [], alphas: rates.length > 0 ? alphas : [] });
    const value = Number(rates[0] ?? alphas[0] ?? 0);
    const point = { curve: `${curve}${size}`, name: `${method}${size}`, value };
    return forgetting === null || loss === null ? [] : [{ ...point, forgetting, loss }];
  });
  return points.length === 0 ? undefined : tradeOf(nameOfMeasure(key), points);
}

/** A contender among others. @param value its place on its curve */
type Traded = Omit<TradePoint, "isOnFront"> & { readonly curve: string; readonly value: number };

/** The figure of these points. */
export function tradeOf(measure: string, points: readonly Traded[]): TradeFigure {
  const placed = points.map((point) => ({ ...point, isOnFront: !points.some((other) => beats(other, point)) }));
  const ends = (of: "forgetting" | "loss") =>
    points.flatMap(({ [of]: { mean, deviation } }) => [mean - (deviation ?? 0), mean + (deviation ?? 0)]);
  return {
    measure,
    methods: [...Map.groupBy(placed, ({ curve }) => curve)].map(([name, own]) => {
      return { name, points: own.toSorted((a, b) => a.value - b.value) };
    }),
    axes: { x: roundAxis([0, ...ends("forgetting")], 6), y: roundAxis(ends("loss"), 6) },
  };
}

type Costs = Pick<TradePoint, "forgetting" | "loss">;

function beats(one: Costs, other: Costs): boolean {
  const [lossMore, forgetsMore] = [one.loss.mean - other.loss.mean, one.forgetting.mean - other.forgetting.mean];
  return lossMore <= 0 && forgetsMore <= 0 && (lossMore < 0 || forgetsMore < 0);
}

function nameOfMeasure(key: Measure): string {
  return key === "best_valid_loss" ? "validation loss" : "loss";
}

/** Axes of a figure: parameters by factors, losses with their deviations. */
export function sizeAxes({ methods, references }: SizeFigure): { readonly x: Axis; readonly y: Axis } {
  const points = methods.flatMap((method) => method.points);
  const ends = [...points, ...references.map(({ point }) => point)].flatMap(({ parameters, loss }) => {
    const off = loss.deviation ?? 0;
    return [loss.mean - off, loss.mean + off].map((value) => ({ step: parameters, loss: value }));
  });
  const { y } = axesOver(ends, { x: 5, y: 6 });
  const counts = points.map(({ parameters }) => parameters);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const margin = Math.min(1.5, Math.max(1.02, (most / least) ** 0.25));
  const [from, to] = [least / margin, most * margin];
  const ticks = scaleLog([from, to], [0, 1]).ticks(5);
  return { x: { from, to, ticks: sparse(ticks), isLog: true, format: formatCount }, y };
}

/** At most eight of them: the ticks of a logarithm stand close together. */
function sparse(ticks: readonly number[]): readonly number[] {
  const every = Math.ceil(ticks.length / 8);
  return ticks.filter((_, at) => at % every === 0);
}
