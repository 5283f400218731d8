import { pairedP, type Spread, spreadOf } from "../../src/train/compare/statistics.ts";

/** One of the paper's claims beside what was measured. */
export interface Finding {
  readonly claim: string;
  readonly measured: string;
  readonly verdict: string;
}

/** A table in Markdown. @param align `l` or `r` for each column */
export function table(head: readonly string[], align: string, rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [head, [...align].map((of) => (of === "r" ? "--:" : "---")), ...rows].map(line).join("\n");
}

export function findingsTable(findings: readonly Finding[]): string {
  const rows = findings.map(({ claim, measured, verdict }) => [claim, measured, verdict]);
  return table(["claim", "measured", "here"], "lll", rows);
}

/** `mean ± deviation`. */
export function plus(spread: Spread | undefined, digits = 4): string {
  if (spread === undefined) return "–";
  const mean = spread.mean.toFixed(digits).replace("-", "−");
  return spread.deviation === null ? mean : `${mean} ± ${spread.deviation.toFixed(digits)}`;
}

/** Differences by seed: their mean, its spread, and how probable such ones are by chance (Student's paired t test). */
export function differenceText(differences: readonly number[]): string {
  const p = differences.length < 2 ? "" : ` (p = ${Number(pairedP(differences).toPrecision(2))})`;
  return plus(spreadOf(differences), 3) + p;
}
