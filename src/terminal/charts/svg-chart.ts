import { line } from "d3-shape";
import { writeFile } from "node:fs/promises";
import { naming } from "../../files/failure.ts";
import { Publication } from "../../files/publish.ts";
import { type Axis, type Place, placeOn, type Point } from "./axes.ts";

/** Text at a place; `anchor` says which part of it stands there. */
export function label(x: number, y: number, anchor: "start" | "middle" | "end", text: string, more = ""): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"${more === "" ? "" : ` ${more}`}>${escape(text)}</text>`;
}

/** A coordinate with one decimal: a tenth of a pixel. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Text in XML: markup characters become entities; control characters have no place in XML 1.0. */
export function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex -- control characters are what this removes
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
      .replaceAll(/[&<>"]/g, (character) => entities[character] ?? "")
  );
}

const WIDTH = 760;
const HEIGHT = 420;
const MARGIN = { top: 48, right: 24, bottom: 48, left: 64 } as const;
/** Between two rows of the legend. */
const LEGEND_ROW = 16;
/** Legible on white and on black: the figure has no background of its own. */
const COLORS = { text: "#7f7f7f", grid: "#7f7f7f" } as const;
/** Of curves, in their order; the first two are those of training and validation. */
export const PALETTE = [
  "#2f7ed8",
  "#e0712b",
  "#3a9d5d",
  "#b5459c",
  "#b8941f",
  "#6b5bd2",
  "#d64550",
  "#1fa3a3",
  "#8a6d3b",
  "#5f7f9f",
] as const;

/** What is around a chart's curves. */
export interface ChartFrame {
  /** Stands above the plot and names the figure for screen readers. */
  readonly title: string;
  readonly axes: { readonly x: Axis; readonly y: Axis };
  readonly names: { readonly x: string; readonly y: string };
  readonly legend: readonly { readonly text: string; readonly color: string }[];
}

/**
 * A chart as a figure.
 *
 * @param draw the elements between the axes; `path`: the data of a path through points
 * @returns an SVG document
 */
export function svgChart(
  frame: ChartFrame,
  draw: (x: Place, y: Place, path: (points: readonly Point[]) => string) => readonly string[],
): string {
  const { title, axes, names } = frame;
  const legend = legendOf(frame.legend);
  const extra = LEGEND_ROW * Math.max(0, legend.rows - 1);
  const [top, height] = [MARGIN.top + extra, HEIGHT + extra];
  const x = placeOn(axes.x, [MARGIN.left, WIDTH - MARGIN.right]);
  const y = placeOn(axes.y, [height - MARGIN.bottom, top]);
  const path = line<Point>(
    ([at]) => x(at),
    ([, value]) => y(value),
  ).digits(1);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="${COLORS.text}">`,
    `<title>${escape(title)}</title>`,
    label(MARGIN.left, 22, "start", title, 'font-size="14" font-weight="600"'),
    ...axes.y.ticks.flatMap((tick) => [
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${round(y(tick))}" y2="${round(y(tick))}" stroke="${COLORS.grid}" stroke-opacity="0.25"/>`,
      label(MARGIN.left - 8, y(tick) + 4, "end", axes.y.format(tick)),
    ]),
    ...axes.x.ticks.map((tick) => label(x(tick), height - MARGIN.bottom + 18, "middle", axes.x.format(tick))),
    label((MARGIN.left + WIDTH - MARGIN.right) / 2, height - 10, "middle", names.x),
    `<text transform="translate(16 ${height / 2}) rotate(-90)" text-anchor="middle">${escape(names.y)}</text>`,
    ...draw(x, y, (points) => path(points) ?? ""),
    ...legend.elements,
    "</svg>",
  ];
  return `${parts.filter((part) => part !== "").join("\n")}\n`;
}

/** Entries one after the other, in as many rows as they need. */
function legendOf(entries: ChartFrame["legend"]): { readonly elements: readonly string[]; readonly rows: number } {
  let [at, row] = [MARGIN.left as number, 0];
  const elements = entries.flatMap(({ text, color }) => {
    const width = 40 + 7 * text.length;
    if (at > MARGIN.left && at + width > WIDTH) [at, row] = [MARGIN.left, row + 1];
    const [start, y] = [at, 36 + row * LEGEND_ROW];
    at += width;
    return [
      `<line x1="${start}" x2="${start + 18}" y1="${y}" y2="${y}" stroke="${color}" stroke-width="3"/>`,
      label(start + 24, y + 4, "start", text),
    ];
  });
  return { elements, rows: row + 1 };
}

/** A figure that will be written. */
interface Figure extends AsyncDisposable {
  /** Makes it appear. @throws RandloraError `file` */
  write(svg: string): Promise<void>;
}

/**
 * Finds out before the work that a figure cannot be written.
 * @param inputs what the work reads: it is not replaced, not even with `force`
 * @throws RandloraError `file`
 */
export async function beginFigure(path: string, force: boolean, inputs: readonly string[]): Promise<Figure> {
  const publication = await Publication.begin(path, { kind: "file", force, inputs });
  return {
    async write(svg) {
      await naming(publication.partPath, "write", writeFile(publication.partPath, svg));
      await publication.commit();
    },
    [Symbol.asyncDispose]: () => publication[Symbol.asyncDispose](),
  };
}
