import { join } from "node:path";
import { shellWord } from "../../files/failure.ts";
import { contests, summaries } from "./contest.ts";
import { plannedRuns, sizeIn } from "./plan.ts";
import type { ComparisonRecord } from "./record.ts";
import type { CompareJson, MethodSummary } from "./options.ts";
import { isReference } from "./types.ts";
import type { Spread } from "./statistics.ts";
import { formatBytes, formatCount, formatDuration, formatMeasure } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** A comparison's folder, and why it ended. */
export interface Compared extends ComparisonRecord {
  readonly out: string;
  readonly ending: CompareJson["ending"];
}

export function compareJson({ out, ending, comparison, results }: Compared): CompareJson {
  const decided = contests(comparison, results);
  const sizes = new Map(comparison.contenders.map((one) => [`${one.label} ${one.budget}`, one]));
  const methods = summaries(comparison, results).map((summary) => {
    const contender = sizes.get(`${summary.method} ${summary.budget}`);
    const size = contender && sizeIn(contender);
    return {
      ...summary,
      ...(size === undefined ? {} : { [size.setting]: size.value }),
      learning_rate: contender?.settings.learningRate ?? null,
    };
  });
  const [only] = decided;
  return {
    out,
    ending,
    budgets: comparison.budgets,
    seeds: comparison.seeds,
    results,
    methods,
    contests: decided,
    winner: decided.length === 1 ? (only?.winner ?? null) : null,
  };
}

/** Of the validation loss before the first step: what a method stays above has hardly learned. */
const LEARNED = 0.99;

/** A column of the table; `spare` ones go first where the terminal is narrow, the highest first. */
interface Column {
  readonly head: string;
  readonly align: "l" | "r";
  readonly spare: number;
  cell(summary: MethodSummary): string;
}

/** Means over the seeds, as text. */
function spreadText(spread: Spread | null, digits = 4): string {
  if (spread === null) return "–";
  const mean = spread.mean.toFixed(digits);
  return spread.deviation === null ? mean : `${mean} ± ${spread.deviation.toFixed(digits)}`;
}

/** Shares over the seeds, in percent. */
function shareText(spread: Spread | null): string {
  if (spread === null) return "–";
  const { mean, deviation } = spread;
  return `${spreadText({ mean: 100 * mean, deviation: deviation && 100 * deviation }, 2)} %`;
}

/** The columns that there is something to say in. */
export function columnsOf({ comparison, results }: ComparisonRecord): readonly Column[] {
  const contenders = new Map(comparison.contenders.map((one) => [`${one.label} ${one.budget}`, one]));
  const of = ({ method, budget }: MethodSummary) => contenders.get(`${method} ${budget}`);
  const isValidated = results.some(({ best_valid_loss: loss }) => loss !== null);
  const isMeasured = results.some(({ forgetting }) => typeof forgetting === "number");
  const isClassified = results.some(({ accuracy }) => accuracy !== null);
  const columns: (Column | undefined)[] = [
    { head: "method", align: "l", spare: 0, cell: ({ method }) => method },
    {
      head: "size",
      align: "l",
      spare: 4,
      cell: (summary) => {
        const contender = of(summary);
        const size = contender && sizeIn(contender);
        return size === undefined ? "" : `${size.setting} ${size.value}`;
      },
    },
    { head: "rate", align: "r", spare: 5, cell: (one) => formatMeasure(of(one)?.settings.learningRate ?? NaN) },
    {
      head: "parameters",
      align: "r",
      spare: 0,
      cell: ({ parameters }) => (parameters === null ? "–" : formatCount(parameters)),
    },
    {
      head: "off",
      align: "r",
      spare: 0,
      cell: ({ distance }) => (distance === null ? "" : `${distance < 0 ? "−" : "+"}${percent(Math.abs(distance))}`),
    },
    { head: "loss", align: "r", spare: 0, cell: ({ loss }) => spreadText(loss) },
    isValidated
      ? { head: "validation", align: "r", spare: 0, cell: (one) => spreadText(one.best_valid_loss) }
      : undefined,
    isClassified ? { head: "accuracy", align: "r", spare: 0, cell: (one) => shareText(one.accuracy) } : undefined,
    isMeasured ? { head: "forgetting", align: "r", spare: 1, cell: (one) => spreadText(one.forgetting) } : undefined,
    isMeasured
      ? { head: "s.e.", align: "r", spare: 6, cell: ({ forgetting_error: error }) => error?.toFixed(4) ?? "–" }
      : undefined,
    {
      head: "time",
      align: "r",
      spare: 2,
      cell: ({ seconds }) => (seconds === null ? "–" : formatDuration(seconds.mean)),
    },
    {
      head: "memory",
      align: "r",
      spare: 3,
      cell: ({ peak_bytes: bytes }) => (bytes === null ? "–" : formatBytes(bytes)),
    },
  ];
  return columns.filter((column) => column !== undefined);
}

function percent(share: number): string {
  const value = share * 100;
  return `${value.toFixed(value < 9.95 ? 1 : 0)} %`;
}

/** The table of one comparison, with what was found; `plot` stands above it. */
export function compareText(compared: Compared, plot: string, columns: number, style: Style): string {
  const { comparison, results } = compared;
  const runs = plannedRuns(comparison).length;
  const open = runs - results.length;
  const lines = [
    ...conclusions(compared).map((line) => `${line}\n`),
    ...(open === 0 ? [] : [`${open} of ${runs} runs are left: randlora compare --resume ${shellWord(compared.out)}\n`]),
    `page: ${join(compared.out, "README.md")}\n`,
  ];
  const above = plot === "" ? "" : `${plot}\n`;
  return `${above}${compareTable(compared, columns, style)}\n${lines.join("")}`;
}

/** Rows of all methods, in blocks by budget; columns that do not fit are left out. */
function compareTable(record: ComparisonRecord, columns: number, style: Style): string {
  let shown = columnsOf(record);
  const rows = summaries(record.comparison, record.results);
  const layout = (limit: number) =>
    formatTable(
      rows.map((row) => shown.map(({ cell }) => cell(row))),
      {
        head: shown.map(({ head }) => head),
        align: shown.map(({ align }) => align).join(""),
        columns: limit,
        markHead: style.dim,
      },
    );
  const width = () =>
    Math.max(
      ...layout(Infinity)
        .split("\n")
        .map((line) => Bun.stringWidth(line)),
    );
  while (width() > columns) {
    const most = Math.max(...shown.map(({ spare }) => spare));
    if (most === 0) break;
    shown = shown.filter(({ spare }) => spare < most);
  }
  return layout(columns);
}

/** Who won, at each budget and among whom, or why nobody did; and who could not win. */
export function conclusions({ comparison, results }: ComparisonRecord): readonly string[] {
  const judged = { best_valid_loss: "validation loss", loss: "loss of the last quarter of the steps" } as const;
  const rows = summaries(comparison, results);
  const found = contests(comparison, results).flatMap(({ budget, winner, reason, judged_by: by, ...methods }) => {
    const at = comparison.budgets.length === 1 ? "" : ` at ${formatCount(budget)}`;
    const among = amongText(methods.among, (label) =>
      rows.find((row) => row.method === label && row.budget === budget),
    );
    const named = winner === null ? `no winner${at}` : `winner${at}: ${winner}`;
    const how = methods.among.length < 2 ? "" : `, by the ${judged[by]}, among ${among}`;
    const line = `${named}${how}: ${reason}`;
    if (methods.left_out.length === 0) return [line];
    return [
      line,
      `not in the contest${at}, far from ${formatCount(budget)}, diverged or failed: ${methods.left_out.join(", ")}`,
    ];
  });
  found.push(...rows.flatMap(unlearned));
  const references = rows.filter(isReference).map(({ method, parameters }) => {
    return parameters === null ? method : `${method} (${formatCount(parameters)} parameters)`;
  });
  if (references.length === 0) return found;
  return [...found, `the reference, not in the contest: ${references.join(", ")}`];
}

/** A method that learned next to nothing tells nothing of the others. */
function unlearned({ method, best_valid_loss: best, valid_loss_before: before }: MethodSummary): string[] {
  if (best === null || before === null || best.mean < LEARNED * before.mean) return [];
  const loss = before.mean.toFixed(4);
  return [
    `${method} hardly learned: its validation loss was ${loss} before; give more --steps or another --learning-rate`,
  ];
}

/** Methods by name, the first one's number of parameters, and how far the others' are from that. */
function amongText(labels: readonly string[], rowOf: (label: string) => MethodSummary | undefined): string {
  const sizes = labels.map((label) => rowOf(label)?.parameters ?? NaN);
  const [own = NaN] = sizes;
  const sized = labels.map((label, at) => {
    const more = (sizes[at] ?? NaN) / own - 1;
    if (at === 0) return `${label} (${formatCount(own)} parameters)`;
    if (more === 0) return `${label} (as many)`;
    return `${label} (${percent(Math.abs(more))} ${more > 0 ? "more" : "fewer"})`;
  });
  return sized.join(", ");
}
