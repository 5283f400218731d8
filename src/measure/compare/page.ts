import { FAIR_DISTANCE, summaries } from "./contest.ts";
import { tradeFigure } from "./curves.ts";
import { plannedRuns } from "./plan.ts";
import type { Contender, PlannedRun } from "./types.ts";
import { visible } from "../../files/visible.ts";
import type { Split } from "../../data/images/datasets/types.ts";
import { type Compared, columnsOf, conclusions } from "./result.ts";
import { nextCommand } from "../../train/report/train-result.ts";

/** The files beside compare.json that show it. */
export const FIGURES = { curves: "loss.svg", sizes: "parameters.svg", trade: "forgetting.svg" } as const;

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
