import { scaleLinear, scaleLog } from "d3-scale";
import { line } from "d3-shape";
import { label, PALETTE, round } from "../src/terminal/charts/svg-chart.ts";

/** One method at one size on one target. */
export interface FitPoint {
  readonly spectrum: string;
  /** The method; `bound`: the least error that a matrix of LoRA's rank can have. */
  readonly name: string;
  /** Numbers that were asked for, and that it has. */
  readonly budget: number;
  readonly parameters: number;
  /** ‖ΔW − target‖² / ‖target‖². */
  readonly error: number;
}

const [WIDTH, HEIGHT, GAP] = [250, 240, 46] as const;
const [LEFT, TOP] = [56, 76] as const;
const GREY = "#7f7f7f";
const TITLES: Readonly<Record<string, string>> = {
  flat: "equal singular values",
  random: "a random matrix",
  falling: "falling as 1/i",
};

/** Error against trainable parameters, a panel for each kind of target. */
export function fitSvg(points: readonly FitPoint[], size: number): string {
  const spectra = [...new Set(points.map(({ spectrum }) => spectrum))];
  const names = [...new Set(points.map(({ name }) => name))].filter((name) => name !== "bound");
  const budgets = points.map(({ parameters }) => parameters);
  const x = scaleLog([Math.min(...budgets), Math.max(...budgets)], [0, WIDTH]);
  const width = LEFT + spectra.length * (WIDTH + GAP);
  const color = (name: string) => PALETTE[names.indexOf(name) % PALETTE.length] ?? GREY;
  const panels = spectra.flatMap((spectrum, index) => {
    const own = points.filter((point) => point.spectrum === spectrum);
    const low = Math.min(...own.map(({ error }) => error));
    const y = scaleLinear([Math.max(0, low - 0.05), 1], [HEIGHT, 0]);
    const left = LEFT + index * (WIDTH + GAP);
    const curve = line<FitPoint>(
      ({ parameters }) => round(left + x(parameters)),
      ({ error }) => round(TOP + y(error)),
    );
    const ofName = (name: string) =>
      own.filter((point) => point.name === name).toSorted((a, b) => a.parameters - b.parameters);
    return [
      label(left + WIDTH / 2, TOP - 10, "middle", TITLES[spectrum] ?? spectrum),
      ...y
        .ticks(5)
        .flatMap((tick) => [
          `<line x1="${left}" x2="${left + WIDTH}" y1="${round(TOP + y(tick))}" y2="${round(TOP + y(tick))}" stroke="${GREY}" stroke-opacity="0.25"/>`,
          label(left - 6, TOP + y(tick) + 4, "end", String(tick)),
        ]),
      ...[2048, 4096, 8192, 16_384]
        .filter((tick) => tick >= Math.min(...budgets) && tick <= Math.max(...budgets))
        .map((tick) => label(left + x(tick), TOP + HEIGHT + 18, "middle", `${tick / 1024}k`)),
      `<path d="${curve(ofName("bound")) ?? ""}" fill="none" stroke="${GREY}" stroke-dasharray="5 4"/>`,
      ...names.flatMap((name) => [
        `<path d="${curve(ofName(name)) ?? ""}" fill="none" stroke="${color(name)}" stroke-width="1.5"/>`,
        ...ofName(name).map(
          ({ parameters, error }) =>
            `<circle cx="${round(left + x(parameters))}" cy="${round(TOP + y(error))}" r="2.5" fill="${color(name)}"/>`,
        ),
      ]),
    ];
  });
  let end = LEFT;
  const legend = names.map((name) => {
    const start = end;
    end += 34 + 6 * name.length;
    return `<line x1="${start}" x2="${start + 14}" y1="38" y2="38" stroke="${color(name)}" stroke-width="3"/>${label(start + 18, 42, "start", name)}`;
  });
  const title = `What is left of a ${size} × ${size} matrix, by numbers trained`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${TOP + HEIGHT + 46}" role="img" font-family="system-ui, sans-serif" font-size="11" fill="${GREY}">`,
    `<title>${title}</title>`,
    label(LEFT, 20, "start", title, 'font-size="14" font-weight="600"'),
    ...legend,
    ...panels,
    label(
      width / 2,
      TOP + HEIGHT + 38,
      "middle",
      "numbers trained; dashed: the least that a matrix of LoRA's rank leaves (Eckart and Young)",
    ),
    "</svg>",
  ].join("\n")}\n`;
}
