import type { CommonsenseJson, TaskScore } from "./options.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** What `eval commonsense` found. */
export interface CommonsenseReport {
  /** By name, in the order of the papers' tables. */
  readonly tasks: ReadonlyMap<string, TaskScore>;
  /** Over tasks. */
  readonly mean: number;
  /** Of answering, and of answers that were given now. */
  readonly seconds: number;
  readonly tokens: number;
}

export function commonsenseJson({ tasks, mean, seconds, tokens }: CommonsenseReport): CommonsenseJson {
  return { tasks: Object.fromEntries(tasks), mean, seconds, tokens_per_s: seconds > 0 ? tokens / seconds : 0 };
}

/** A row a task, and the mean, in percent as the papers have it. */
export function commonsenseText(
  report: CommonsenseReport,
  { columns, style }: { columns: number; style: Style },
): string {
  const { tasks, mean, seconds, tokens } = report;
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const rows = [...tasks].map(([name, { correct, total, accuracy }]) => [
    name,
    formatNumber(correct),
    formatNumber(total),
    percent(accuracy),
  ]);
  const head = ["task", "right", "of", "accuracy"];
  const all = [...rows, ["mean", "", "", percent(mean)]];
  const table = formatTable(all, { head, align: "lrrr", columns, markHead: style.dim });
  if (tokens === 0) return table;
  return `${table}${formatAmount(tokens, "token")} written, ${formatNumber(tokens / seconds, 1)} a second\n`;
}
