import { join } from "node:path";
import type { Split } from "../../data/images/datasets/types.ts";
import { modelTitle } from "../../files/run-names.ts";
import { visible } from "../../files/visible.ts";
import { writeWhole } from "../../files/whole-file.ts";
import { pointsOf } from "../../terminal/charts/axes.ts";
import { terminalChart } from "../../terminal/charts/terminal-chart.ts";
import type { Context } from "../../terminal/options/command.ts";
import type { Style } from "../../terminal/style.ts";
import { nextCommand, splitToMeasure } from "../../train/report/train-result.ts";
import { FAIR_DISTANCE, summaries } from "./contest.ts";
import { curveAxes, type MethodCurve, methodCurves, sizeFigure, tradeFigure } from "./curves.ts";
import type { ComparisonFolder } from "./folder.ts";
import { plannedRuns } from "./plan.ts";
import type { ComparisonRecord } from "./record.ts";
import { columnsOf, type Compared, compareJson, compareText, conclusions } from "./result.ts";
import { metricsOf } from "./measure.ts";
import { curvesSvg, sizesSvg, tradeSvg } from "./svg.ts";
import type { Contender, PlannedRun } from "./types.ts";

/** The plot and the table, also as figures and a page in the comparison's folder. */
export async function showComparison(
  folder: ComparisonFolder,
  record: ComparisonRecord,
  context: Context,
): Promise<void> {
  const { signal, columns, style } = context;
  const runs = plannedRuns(record.comparison);
  const compared = {
    ...record,
    out: folder.path,
    ending: record.results.length < runs.length && signal.aborted ? "interrupted" : "finished",
  } as const;
  const [first] = record.comparison.contenders;
  const split = first && (await splitToMeasure(first.settings));
  const curves = methodCurves(record, await Promise.all(runs.map((run) => metricsOf(folder, run))));
  const figure = sizeFigure(record);
  const trade = tradeFigure(record);
  const title = `${modelTitle(first?.settings.model ?? "")}: methods at equal parameters`;
  const files = {
    "README.md": comparePage(compared, split),
    [FIGURES.curves]: curvesSvg(curves, title),
    ...(figure.methods.length === 0 ? {} : { [FIGURES.sizes]: sizesSvg(figure, title) }),
    ...(trade === undefined ? {} : { [FIGURES.trade]: tradeSvg(trade, title) }),
  };
  try {
    for (const [name, text] of Object.entries(files)) await writeWhole(join(folder.path, name), text);
  } catch (thrown) {
    // The results are safe on the disk: a figure is not worth failing for.
    context.log.warn(thrown instanceof Error ? thrown.message : String(thrown));
  }
  context.result(compareJson(compared), () =>
    compareText(compared, curvesPlot(curves, columns, style), columns, style),
  );
}

/** The files beside compare.json that show it. */
const FIGURES = { curves: "loss.svg", sizes: "parameters.svg", trade: "forgetting.svg" } as const;

/**
 * A comparison's README.md: its table, what was found, the images, and what to type next.
 * @param split the part of the images to ask about
 */
export function comparePage(compared: Compared, split?: Split): string {
  const { comparison, results } = compared;
  const columns = columnsOf(compared);
  const runs = plannedRuns(comparison);
  const [first] = comparison.contenders;
  const row = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  const seeds = comparison.seeds === 1 ? "one seed" : `${comparison.seeds} seeds`;
  const left = runs.length - results.length;
  return [
    `# ${cell(first?.settings.model ?? "")}: methods at equal parameters`,
    "",
    `Trained on \`${cell(first?.settings.data ?? "")}\`, ${seeds} from ${comparison.seed} on; mean ± sample deviation.`,
    ...(left === 0 ? [] : ["", `${left} of ${runs.length} runs are left.`]),
    "",
    row(columns.map(({ head }) => head)),
    row(columns.map(({ align }) => (align === "r" ? "--:" : "---"))),
    ...summaries(comparison, results).map((summary) => row(columns.map((column) => column.cell(summary)))),
    "",
    ...conclusions(compared).map((line) => `- ${cell(line)}`),
    "",
    "Learning rates are each method's default, or as given: of swept values the best one on the validation data",
    "is named. `loss` is the mean over the last quarter of the steps, `validation` the lowest validation loss (that of best/), `off` the distance to the wanted number of parameters (in the",
    `contest up to ${100 * FAIR_DISTANCE} %), \`time\` that of the training steps alone. A winner is named where its mean is lower than that of`,
    "each other method by Student's paired t test over the seeds, at most once in twenty comparisons of equal methods, also where",
    "seeds were added after a look at the results.",
    ...(trainsHead(first) ? ["`parameters` are those beside the head, which all methods train alike."] : []),
    "",
    ...(tradeFigure(compared) === undefined
      ? []
      : [
          "`forgetting` is KL(base ‖ adapted) a token, on texts that the base drew once for all runs (forgetting.json; `eval",
          "forgetting` draws more, unless `--texts` says as many); `s.e.` is its standard error over these texts. The figure has a line a method, a point a learning rate or α, and dashed the Pareto front.",
          ...(new Set(comparison.contenders.map(({ settings }) => settings.quantize)).size > 1
            ? ["That of quantized runs counts what quantizing cost, too: the base was not quantized."]
            : []),
          "",
          `![loss against forgetting](${FIGURES.trade})`,
        ]),
    `![loss by step](${FIGURES.curves})`,
    `![loss against parameters](${FIGURES.sizes})`,
    "",
    "```sh",
    `randlora compare --resume . --seeds ${comparison.seeds + 2}     # more runs of each method`,
    ...runs.slice(0, 1).map((run) => useOf(run, split)),
    "```",
    "",
  ].join("\n");
}

function trainsHead(contender: Contender | undefined): boolean {
  const head = contender?.settings.images?.head;
  return head === "linear" || head === "cls";
}

/** What to do with a run. */
function useOf({ name, settings }: PlannedRun, split: Split | undefined): string {
  const [unit, what] = settings.images === null ? (["tokens", "talk to"] as const) : (["images", "measure"] as const);
  return `${visible(nextCommand({ ending: "finished", run: `runs/${name}`, unit }, settings, split))}     # ${what} one`;
}

/** A cell of a table: one line, no bar of its own. */
function cell(text: string): string {
  return visible(text).replaceAll(/[|`]/g, " ");
}

/** What tells curves apart where there are no colors, too. */
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/**
 * The losses of all methods as text: means over the seeds, each curve with a letter at its end; below them the names.
 *
 * @param columns of the terminal; Infinity elsewhere
 * @returns lines, each ended by a newline; none without a step
 */
export function curvesPlot(curves: readonly MethodCurve[], columns: number, style: Style): string {
  if (curves.length === 0) return "";
  const paints = [style.cyan, style.yellow, style.green, style.red, (text: string) => text];
  const drawn = curves.map((curve, at) => {
    return { ...curve, letter: LETTERS[at % LETTERS.length] ?? "", paint: paints[at % paints.length] ?? String };
  });
  const chart = {
    title: "loss by step, mean over the seeds",
    axes: curveAxes(curves, { x: 5, y: 4 }),
    curves: drawn.map(({ mean, paint }) => ({ points: pointsOf(mean), paint })),
    marks: drawn.flatMap(({ mean, letter, paint }) =>
      pointsOf(mean.slice(-1)).map((at) => ({ at, text: paint(letter) })),
    ),
  };
  const names = drawn.map(({ letter, name, paint }) => `${paint(letter)} ${name}`).join("   ");
  return `${terminalChart(chart, columns, style)}${names}\n`;
}
