import { label, PALETTE, round } from "../src/terminal/charts/svg-chart.ts";

/** One line of a chart: a value, and between what its rounds or seeds lie. */
export interface ChartRow {
  readonly name: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** What stands behind it. */
  readonly shown: string;
  /** Its color; rows of a kind have one. */
  readonly kind: number;
}

const [WIDTH, LEFT, RIGHT, TOP, LINE] = [840, 290, 110, 56, 30] as const;
const GREY = "#7f7f7f";

/** Bars from `from`, with whiskers; `reference` is a line that they are held to. Readable on light and dark pages. */
export function barChart(chart: {
  readonly title: string;
  readonly rows: readonly ChartRow[];
  readonly from: number;
  readonly to: number;
  readonly reference?: { readonly value: number; readonly name: string };
  readonly caption: string;
}): string {
  const { title, rows, from, to, reference, caption } = chart;
  const x = (value: number) => LEFT + ((value - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const bottom = TOP + rows.length * LINE;
  const lines = rows.flatMap(({ name, value, low, high, shown, kind }, index) => {
    const middle = TOP + (index + 0.5) * LINE;
    const color = PALETTE[kind % PALETTE.length] ?? GREY;
    const end = round(Math.max(x(value), x(high)) + 8);
    return [
      label(LEFT - 10, middle + 4, "end", name),
      `<rect x="${LEFT}" y="${round(middle - 9)}" width="${round(x(value) - LEFT)}" height="18" rx="2" fill="${color}"/>`,
      `<path d="M${round(x(low))} ${middle}H${round(x(high))}M${round(x(low))} ${middle - 5}v10M${round(x(high))} ${middle - 5}v10" stroke="${GREY}" stroke-width="1.5" fill="none"/>`,
      label(end, middle + 4, "start", shown, 'font-weight="600"'),
    ];
  });
  const line =
    reference === undefined
      ? []
      : [
          `<path d="M${round(x(reference.value))} ${TOP - 6}V${bottom}" stroke="${GREY}" stroke-dasharray="5 4"/>`,
          label(x(reference.value), TOP - 12, "middle", reference.name),
        ];
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 40}" role="img" font-family="system-ui, sans-serif" font-size="13" fill="${GREY}">`,
    `<title>${title}</title>`,
    label(20, 22, "start", title, 'font-size="15" font-weight="600"'),
    ...line,
    ...lines,
    label(20, bottom + 26, "start", caption),
    "</svg>",
  ].join("\n")}\n`;
}
