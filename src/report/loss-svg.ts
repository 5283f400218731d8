import { scaleLinear } from "d3-scale";
import { line } from "d3-shape";
import { axesOf, type LossCurve, type LossPoint } from "./loss-curve.ts";
import { escape, label, round } from "./svg.ts";

const WIDTH = 760;
const HEIGHT = 420;
const MARGIN = { top: 48, right: 24, bottom: 48, left: 64 } as const;
/** Legible on white and on black: the picture has no background of its own. */
const COLORS = { train: "#2f7ed8", valid: "#e0712b", text: "#7f7f7f", grid: "#7f7f7f" } as const;

/**
 * A run's losses as a picture: every step (faint), the smoothed curve, and the validation losses with the lowest marked.
 *
 * @param title stands above the plot and names the picture for screen readers
 * @returns an SVG document
 */
export function lossSvg(curve: LossCurve, title: string): string {
  const axes = axesOf(curve, { x: 8, y: 6 });
  const x = scaleLinear([axes.x.from, axes.x.to], [MARGIN.left, WIDTH - MARGIN.right]);
  const y = scaleLinear([axes.y.from, axes.y.to], [HEIGHT - MARGIN.bottom, MARGIN.top]).clamp(true);
  const path = line<LossPoint>(
    ({ step }) => x(step),
    ({ loss }) => y(loss),
  ).digits(1);
  const draw = (points: readonly LossPoint[], color: string, width: number, opacity: number): string =>
    points.length < 2
      ? ""
      : `<path d="${path(points) ?? ""}" fill="none" stroke="${color}" stroke-width="${width}" stroke-opacity="${opacity}" stroke-linejoin="round"/>`;
  const best = curve.valid.reduce<LossPoint | undefined>(
    (low, point) => (low === undefined || point.loss < low.loss ? point : low),
    undefined,
  );
  const dots = curve.valid.map(
    (point) =>
      `<circle cx="${round(x(point.step))}" cy="${round(y(point.loss))}" r="${point === best ? 5 : 3}" fill="${COLORS.valid}"><title>step ${point.step}: ${point.loss.toFixed(4)}</title></circle>`,
  );
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="${COLORS.text}">`,
    `<title>${escape(title)}</title>`,
    label(MARGIN.left, 22, "start", title, 'font-size="14" font-weight="600"'),
    ...axes.y.ticks.flatMap((tick) => [
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${round(y(tick))}" y2="${round(y(tick))}" stroke="${COLORS.grid}" stroke-opacity="0.25"/>`,
      label(MARGIN.left - 8, y(tick) + 4, "end", axes.y.format(tick)),
    ]),
    ...axes.x.ticks.map((tick) => label(x(tick), HEIGHT - MARGIN.bottom + 18, "middle", axes.x.format(tick))),
    label((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 10, "middle", "step"),
    `<text transform="translate(16 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">loss</text>`,
    draw(curve.train, COLORS.train, 1, 0.3),
    draw(curve.smooth, COLORS.train, 2, 1),
    draw(curve.valid, COLORS.valid, 2, 1),
    ...dots,
    ...legend(curve, best),
    "</svg>",
  ];
  return `${parts.filter((part) => part !== "").join("\n")}\n`;
}

function legend(curve: LossCurve, best: LossPoint | undefined): string[] {
  const lowest = best === undefined ? "" : `validation (lowest: ${best.loss.toFixed(4)} at step ${best.step})`;
  const entries = [
    { text: "training", color: COLORS.train, shown: curve.train.length > 0 },
    { text: lowest, color: COLORS.valid, shown: best !== undefined },
  ].filter(({ shown }) => shown);
  let at = MARGIN.left;
  return entries.flatMap(({ text, color }) => {
    const start = at;
    at += 40 + 7 * text.length;
    return [
      `<line x1="${start}" x2="${start + 18}" y1="36" y2="36" stroke="${color}" stroke-width="3"/>`,
      label(start + 24, 40, "start", text),
    ];
  });
}
