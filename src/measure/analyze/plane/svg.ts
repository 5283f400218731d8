import { scaleLinear } from "d3-scale";
import { CORNERS } from "./plane.ts";
import type { Axis, Place } from "../../../terminal/charts/axes.ts";
import { clipped, CORNER_NAMES, type PlaneReport } from "./report.ts";
import { escape, label, round, svgChart } from "../../../terminal/charts/svg-chart.ts";

const LEVELS = 10;
/** Dark is low; both ends are apart from black and from white. */
const COLORS = ["#2b3a78", "#4f9aa8", "#f3e3a1"] as const;

/**
 * Losses in a plane of weights, as figure 4b of the RandLoRA paper: a heat map with contour lines at ten levels between the
 * least loss and 1.2 times the largest corner's, and the three corners.
 */
export function planeSvg(report: PlaneReport): string {
  const { at, x, y, corners } = report;
  const { rows, lowest, highest } = clipped(report);
  const middle = (lowest + highest) / 2;
  const color = scaleLinear<string>([lowest, middle, highest], COLORS);
  const axes = { x: axisOver(x), y: axisOver(y) };
  const legend = at.map((name, corner) => ({
    text: `${CORNER_NAMES[corner] ?? ""}: ${name} (${(corners[corner] ?? NaN).toFixed(3)})`,
    color: color(Math.min(corners[corner] ?? highest, highest)),
  }));
  const title = `loss from ${lowest.toFixed(3)} (dark) to ${highest.toFixed(3)} and above`;
  return svgChart({ title, axes, names: { x: "x", y: "y" }, legend }, (placeX, placeY) => [
    ...rows.flatMap((row, j) =>
      row.map((value, i) => {
        const text = `(${x[i] ?? ""}, ${y[j] ?? ""}): ${(report.loss[j]?.[i] ?? NaN).toFixed(4)}`;
        return cell(edges(x, i, placeX), edges(y, j, placeY), color(value), text);
      }),
    ),
    ...Array.from({ length: LEVELS }, (_, level) => {
      const value = lowest + ((level + 1) * (highest - lowest)) / (LEVELS + 1);
      const path = contour(rows, value)
        .map((ends) => ends.map(([px, py]) => `${round(placeX(on(x, px)))} ${round(placeY(on(y, py)))}`).join("L"))
        .map((segment) => `M${segment}`)
        .join("");
      return `<path d="${path}" fill="none" stroke="#ffffff" stroke-opacity="0.7"><title>${value.toFixed(4)}</title></path>`;
    }),
    ...CORNERS.flatMap(([cx, cy], corner) => {
      const isOutside = cx < axes.x.from || cx > axes.x.to || cy < axes.y.from || cy > axes.y.to;
      if (isOutside) return [];
      const [left, top] = [round(placeX(cx)), round(placeY(cy))];
      return [
        `<circle cx="${left}" cy="${top}" r="4" fill="#ffffff" stroke="#000000"/>`,
        label(left + 8, top + 4, "start", CORNER_NAMES[corner] ?? "", 'fill="#ffffff" font-weight="600"'),
      ];
    }),
  ]);
}

function cell(across: readonly number[], down: readonly number[], fill: string, text: string): string {
  const [left = 0, right = 0] = across.toSorted((a, b) => a - b);
  const [top = 0, bottom = 0] = down.toSorted((a, b) => a - b);
  const place = `x="${round(left)}" y="${round(top)}" width="${round(right - left)}" height="${round(bottom - top)}"`;
  return `<rect ${place} fill="${fill}" shape-rendering="crispEdges"><title>${escape(text)}</title></rect>`;
}

/** Where the cell around a point of the grid begins and ends. */
function edges(places: readonly number[], at: number, place: Place): number[] {
  return [place(on(places, at - 0.5)), place(on(places, at + 0.5))];
}

/** The value at a place between points of the grid, or half a step beyond them. */
function on(places: readonly number[], at: number): number {
  const [first = 0, second = first + 1] = places;
  return first + at * (second - first);
}

function axisOver(places: readonly number[]): Axis {
  const [from, to] = [on(places, -0.5), on(places, places.length - 0.5)];
  const scale = scaleLinear([from, to], [0, 1]);
  return { from, to, ticks: scale.ticks(6), format: scale.tickFormat(6) };
}

/** A straight piece of a contour line, in places of the grid: whole numbers are its points. */
type Segment = readonly [from: readonly [x: number, y: number], to: readonly [x: number, y: number]];

/** Which edges of a cell a line joins, by its corners above the level (1: lower left, 2: lower right, 4: upper right, 8). */
const JOINED: readonly (readonly (readonly [Edge, Edge])[])[] = [
  [],
  [["left", "bottom"]],
  [["bottom", "right"]],
  [["left", "right"]],
  [["right", "top"]],
  [], // a saddle
  [["bottom", "top"]],
  [["left", "top"]],
  [["left", "top"]],
  [["bottom", "top"]],
  [], // a saddle
  [["right", "top"]],
  [["left", "right"]],
  [["bottom", "right"]],
  [["left", "bottom"]],
  [],
];
type Edge = "left" | "bottom" | "right" | "top";

/**
 * The line along which a function on a grid has a level: marching squares (Lorensen and Cline, SIGGRAPH 1987, in two
 * dimensions), straight between the edges of cells, where values are interpolated linearly. Of a saddle the mean of the
 * corners says which of them belong together.
 * @param rows values by y, then x; finite, all rows equally long
 */
export function contour(rows: readonly (readonly number[])[], level: number): Segment[] {
  const at = (x: number, y: number) => rows[y]?.[x] ?? NaN;
  const segments: Segment[] = [];
  for (let y = 0; y + 1 < rows.length; y++) {
    for (let x = 0; x + 1 < (rows[y]?.length ?? 0); x++) {
      const corners = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)] as const;
      const [a, b, c, d] = corners;
      const kind = corners.reduce((sum, value, bit) => sum + (value > level ? 1 << bit : 0), 0);
      const between = (from: number, to: number) => (level - from) / (to - from);
      const place = {
        bottom: () => [x + between(a, b), y] as const,
        right: () => [x + 1, y + between(b, c)] as const,
        top: () => [x + between(d, c), y + 1] as const,
        left: () => [x, y + between(a, d)] as const,
      };
      const isSaddle = kind === 5 || kind === 10;
      const pairs = isSaddle ? saddle((a + b + c + d) / 4 > level, kind) : (JOINED[kind] ?? []);
      for (const [from, to] of pairs) segments.push([place[from](), place[to]()]);
    }
  }
  return segments;
}

/** Two opposite corners are above the level; with a high middle they are one hill, and lines cut the low corners off. */
function saddle(highMiddle: boolean, kind: number): readonly (readonly [Edge, Edge])[] {
  const cutsLowerRight = (kind === 5) === highMiddle;
  return cutsLowerRight
    ? [
        ["bottom", "right"],
        ["left", "top"],
      ]
    : [
        ["left", "bottom"],
        ["right", "top"],
      ];
}
