import { CORNERS } from "./plane.ts";
import { visible } from "../../../files/visible.ts";
import { formatAmount, formatMeasure, formatNumber } from "../../../terminal/format.ts";
import type { ProfileJson } from "../../../terminal/profile.ts";
import type { Style } from "../../../terminal/style.ts";
import { formatTable } from "../../../terminal/table.ts";

/** What `analyze plane` found. */
export interface PlaneReport {
  /** A, B and C as the user named them. */
  readonly at: readonly [string, string, string];
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Mean losses, rows by y. */
  readonly loss: readonly (readonly number[])[];
  /** Of A, B and C. */
  readonly corners: readonly [number, number, number];
  readonly samples: number;
  /** Supervised ones, which the loss is the mean over; undefined where samples are images, whose own mean it is. */
  readonly tokens: number | undefined;
}

export const CORNER_NAMES = ["A", "B", "C"] as const;

/**
 * `analyze plane --json`.
 * @json analyze plane
 */
interface PlaneJson extends ProfileJson {
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Rows by y. */
  readonly loss: readonly (readonly (number | null)[])[];
  /** Losses of A, B and C. */
  readonly corners: Readonly<Record<string, number | null>>;
  readonly samples: number;
  /** Supervised; not of images. */
  readonly tokens?: number;
}

export function planeJson({ x, y, loss, corners, samples, tokens }: Omit<PlaneReport, "at">): PlaneJson {
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  return {
    x,
    y,
    loss: loss.map((row) => row.map(finite)),
    corners: Object.fromEntries(CORNER_NAMES.map((name, at) => [name, finite(corners[at] ?? NaN)])),
    samples,
    ...(tokens === undefined ? {} : { tokens }),
  };
}

/** Losses to be drawn: what is above 1.2 times the largest corner's, or overflowed, is cut to that, as the authors do. */
export function clipped({ loss, corners }: Pick<PlaneReport, "loss" | "corners">): {
  readonly rows: readonly (readonly number[])[];
  readonly lowest: number;
  readonly highest: number;
} {
  const finite = corners.filter(Number.isFinite);
  const highest = 1.2 * (finite.length === 0 ? 1 : Math.max(...finite));
  const rows = loss.map((row) => row.map((value) => (Number.isFinite(value) ? Math.min(value, highest) : highest)));
  const lowest = rows.reduce((least, row) => row.reduce((a, b) => Math.min(a, b), least), highest);
  return { rows, lowest, highest };
}

/** The lightest is the lowest. */
const SHADES = [" ", "░", "▒", "▓", "█"] as const;

/** The corners' losses, the lowest point, and a map in shades, y upwards. */
export function planeText(report: PlaneReport, { columns, style }: { columns: number; style: Style }): string {
  const { at, x, y, loss, corners, samples, tokens } = report;
  const rows = at.map((name, corner) => [
    CORNER_NAMES[corner] ?? "",
    visible(name),
    `(${CORNERS[corner]?.join(", ") ?? ""})`,
    formatMeasure(corners[corner] ?? NaN),
  ]);
  let least = { x: NaN, y: NaN, loss: Infinity };
  for (const [j, row] of loss.entries()) {
    for (const [i, value] of row.entries()) {
      if (value < least.loss) least = { x: x[i] ?? NaN, y: y[j] ?? NaN, loss: value };
    }
  }
  rows.push(["", "lowest on the grid", `(${short(least.x)}, ${short(least.y)})`, formatMeasure(least.loss)]);
  const head = ["", "", "(x, y)", "loss"];
  const table = formatTable(rows, { head, align: "lllr", columns, markHead: style.dim });
  const of =
    tokens === undefined
      ? formatAmount(samples, "image")
      : `${formatAmount(samples, "sample")}, ${formatAmount(tokens, "predicted token")}`;
  const text = `${formatNumber(x.length)} × ${formatNumber(y.length)} points, ${of}\n`;
  return `${table}\n${shades(report, columns, style)}${text}`;
}

/** A cell two columns wide, as high as wide, where the terminal has room. */
function shades(report: PlaneReport, columns: number, style: Style): string {
  const { x, y } = report;
  const { rows, lowest, highest } = clipped(report);
  const margin = Math.max(...y.map((value) => short(value).length)) + 1;
  const width = margin + 2 * x.length <= columns ? 2 : 1;
  const marks = new Map(CORNERS.map(([cx, cy], at) => [`${nearest(x, cx)} ${nearest(y, cy)}`, CORNER_NAMES[at] ?? ""]));
  const lines = rows.map((row, j) => {
    const cells = row.map((value, i) => {
      const share = highest > lowest ? (value - lowest) / (highest - lowest) : 0;
      const shade = SHADES[Math.min(SHADES.length - 1, Math.floor(share * SHADES.length))] ?? " ";
      const mark = marks.get(`${i} ${j}`);
      return mark === undefined ? shade.repeat(width) : `${style.bold(mark)}${shade.repeat(width - 1)}`;
    });
    const label = j % 5 === 0 ? short(y[j] ?? NaN) : "";
    return `${style.dim(label.padStart(margin - 1))} ${cells.join("")}`.trimEnd();
  });
  const foot = `${" ".repeat(margin)}x from ${short(x[0] ?? NaN)} to ${short(x.at(-1) ?? NaN)}`;
  const key = `${SHADES.join("")}  from ${formatMeasure(lowest)} to ${formatMeasure(highest)} and above`;
  return `${[...lines.toReversed(), style.dim(foot), style.dim(" ".repeat(margin) + key)].join("\n")}\n`;
}

/** The place next to a value; undefined beyond the ends. */
function nearest(places: readonly number[], value: number): number | undefined {
  const step = (places[1] ?? Infinity) - (places[0] ?? 0);
  const at = places.findIndex((place) => Math.abs(place - value) <= Math.abs(step) / 2 + 1e-9);
  return at < 0 ? undefined : at;
}

function short(value: number): string {
  return String(Number(value.toFixed(3)));
}
