import type { ImageScores } from "./accuracy.ts";
import type { AccuracyJson } from "./options.ts";
import { visible } from "../../files/visible.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** What `eval images` found. */
export interface AccuracyReport extends ImageScores {
  /** Of reading, preparing and classifying. */
  readonly seconds: number;
}

export function accuracyJson({ images, accuracy, loss, perClass, seconds }: AccuracyReport): AccuracyJson {
  return {
    images,
    accuracy,
    loss,
    per_class: Object.fromEntries([...perClass].map(([name, part]) => [name, part ?? null])),
    seconds,
    images_per_s: seconds > 0 ? images / seconds : 0,
  };
}

/** A row a class, and what holds for all below. */
export function accuracyText(report: AccuracyReport, { columns, style }: { columns: number; style: Style }): string {
  const { images, accuracy, loss, perClass, seconds } = report;
  const percent = (part: number | undefined) => (part === undefined ? "" : `${(100 * part).toFixed(2)} %`);
  const rows = [...perClass].map(([name, part]) => [visible(name), percent(part)]);
  const all = [...rows, ["all", percent(accuracy)]];
  const table = formatTable(all, { head: ["class", "accuracy"], align: "lr", columns, markHead: style.dim });
  const speed = `${formatNumber(images / seconds, 1)} a second`;
  return `${table}${formatAmount(images, "image")}, ${speed}; loss ${loss.toFixed(4)}\n`;
}
