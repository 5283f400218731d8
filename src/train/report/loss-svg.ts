import { type LossPoint, pointsOf } from "../../terminal/charts/axes.ts";
import { axesOf, type LossCurve } from "./loss-curve.ts";
import { round } from "../../terminal/charts/svg.ts";
import { PALETTE, svgChart } from "../../terminal/charts/svg-chart.ts";

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
