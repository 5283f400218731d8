import { area } from "d3-shape";
import { curveAxes, type MethodCurve, sizeAxes, type SizeFigure, type TradeFigure, type TradePoint } from "./curves.ts";
import type { Spread } from "./statistics.ts";
import { type Place, type Point, pointsOf } from "../../terminal/charts/axes.ts";
import { escape, label, PALETTE, round, svgChart } from "../../terminal/charts/svg-chart.ts";

const REFERENCE = "#7f7f7f";

/** The losses of all methods: means over the seeds with a band from the lowest to the highest; validation losses as dots. */
export function curvesSvg(curves: readonly MethodCurve[], title: string): string {
  const legend = curves.map(({ name }, at) => ({ text: name, color: colorOf(at) }));
  const names = { x: "step", y: "loss" };
  return svgChart({ title, axes: curveAxes(curves, { x: 8, y: 6 }), names, legend }, (x, y, path) =>
    curves.flatMap((curve, at) => drawCurve(curve, colorOf(at), x, y, path)),
  );
}

function drawCurve(
  { name, mean, band, valid }: MethodCurve,
  color: string,
  x: Place,
  y: Place,
  path: (points: readonly Point[]) => string,
): string[] {
  const between = area<MethodCurve["band"][number]>(
    ({ step }) => x(step),
    ({ low }) => y(low),
    ({ high }) => y(high),
  ).digits(1);
  const hasBand = mean.length > 1 && band.some(({ low, high }) => low < high);
  const fill = hasBand
    ? [`<path d="${between(band) ?? ""}" fill="${color}" fill-opacity="0.15" stroke="${color}" stroke-opacity="0.5"/>`]
    : [];
  const curve =
    mean.length > 1
      ? [`<path d="${path(pointsOf(mean))}" fill="none" stroke="${color}" stroke-width="2" stroke-linejoin="round"/>`]
      : [];
  const dots = valid.map(({ step, loss }) => dot(x(step), y(loss), color, `${name}, step ${step}: ${loss.toFixed(4)}`));
  return [...fill, ...curve, ...dots];
}

/**
 * Loss against trained parameters: a point a budget with its sample deviation, a line where a method has several; dashed
 * what training the whole model comes to.
 */
export function sizesSvg(figure: SizeFigure, title: string): string {
  const legend = [
    ...figure.methods.map(({ name }, at) => ({ text: name, color: colorOf(at) })),
    ...figure.references.map(({ name }) => ({ text: `${name} (dashed)`, color: REFERENCE })),
  ];
  const axes = sizeAxes(figure);
  const names = { x: "trained parameters", y: figure.measure };
  return svgChart({ title, axes, names, legend }, (x, y, path) => [
    ...figure.references.flatMap(({ name, point }) => {
      const at = round(y(point.loss.mean));
      const [left, right] = [round(x(axes.x.from)), round(x(axes.x.to))];
      return [
        `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" stroke="${REFERENCE}" stroke-width="2" stroke-dasharray="6 4"/>`,
        label(right, at - 6, "end", name),
      ];
    }),
    ...figure.methods.flatMap(({ name, points }, at) => {
      const color = colorOf(at);
      const means = points.map(({ parameters, loss }): Point => [parameters, loss.mean]);
      const joined =
        points.length > 1 ? [`<path d="${path(means)}" fill="none" stroke="${color}" stroke-width="2"/>`] : [];
      return [
        ...joined,
        ...points.flatMap(({ parameters, loss }) => {
          const [left, off] = [round(x(parameters)), loss.deviation ?? 0];
          const [high, low] = [round(y(loss.mean + off)), round(y(loss.mean - off))];
          return [
            `<line x1="${left}" x2="${left}" y1="${high}" y2="${low}" stroke="${color}" stroke-width="1.5"/>`,
            dot(left, y(loss.mean), color, `${name}, ${parameters} parameters: ${loss.mean.toFixed(4)}`),
          ];
        }),
      ];
    }),
  ]);
}

/**
 * Held-out loss against forgetting: a point a contender with its sample deviations, a line where a method has several; what
 * no other beats in both has a ring, and these are joined, dashed.
 */
export function tradeSvg({ measure, methods, axes }: TradeFigure, title: string): string {
  const legend = [
    ...methods.map(({ name }, at) => ({ text: name, color: colorOf(at) })),
    { text: "Pareto front (dashed)", color: REFERENCE },
  ];
  const placeOf = ({ forgetting, loss }: TradePoint): Point => [forgetting.mean, loss.mean];
  const front = methods
    .flatMap(({ points }) => points.filter(({ isOnFront }) => isOnFront).map(placeOf))
    .toSorted(([one], [other]) => one - other);
  const names = { x: "forgetting (nats a token)", y: measure };
  return svgChart({ title, axes, names, legend }, (x, y, path) => [
    `<path d="${path(front)}" fill="none" stroke="${REFERENCE}" stroke-width="2" stroke-dasharray="6 4"/>`,
    ...methods.flatMap(({ points }, at) => {
      const color = colorOf(at);
      return [
        points.length > 1
          ? `<path d="${path(points.map(placeOf))}" fill="none" stroke="${color}" stroke-width="2"/>`
          : "",
        ...points.flatMap(({ name, forgetting, loss, isOnFront }) => {
          const [left, top] = [round(x(forgetting.mean)), round(y(loss.mean))];
          const ends = (place: Place, { mean, deviation }: Spread) =>
            [mean - (deviation ?? 0), mean + (deviation ?? 0)].map((value) => round(place(value)));
          const [[west, east], [low, high]] = [ends(x, forgetting), ends(y, loss)];
          const bar = `stroke="${color}" stroke-width="1.5"`;
          const what = `${name}: ${measure} ${loss.mean.toFixed(4)}, forgetting ${forgetting.mean.toFixed(4)}`;
          return [
            `<line x1="${west}" x2="${east}" y1="${top}" y2="${top}" ${bar}/>`,
            `<line x1="${left}" x2="${left}" y1="${low}" y2="${high}" ${bar}/>`,
            isOnFront ? `<circle cx="${left}" cy="${top}" r="8" fill="none" stroke="${REFERENCE}"/>` : "",
            dot(left, top, color, what),
          ];
        }),
      ];
    }),
  ]);
}

function dot(x: number, y: number, color: string, title: string): string {
  return `<circle cx="${round(x)}" cy="${round(y)}" r="4" fill="${color}"><title>${escape(title)}</title></circle>`;
}

function colorOf(at: number): string {
  return PALETTE[at % PALETTE.length] ?? REFERENCE;
}
