import { pairedP, quantile, type Spread, spreadOf } from "../../src/measure/compare/statistics.ts";

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

/** What is said of claims that the seeds do not decide. */
export const UNDECIDED = "not decided by these seeds";
export const NO_DIFFERENCE = "no difference that these seeds show";

/** A list in Markdown: what is decided with its measurement, then a line for all that is not. */
export function findingsList(findings: readonly Finding[]): string {
  const isOpen = ({ verdict }: Finding) => verdict === UNDECIDED || verdict === NO_DIFFERENCE;
  const decided = findings
    .filter((one) => !isOpen(one))
    .map(({ claim, measured, verdict }) => `- ${claim}: **${verdict}**. ${measured}.`);
  const open = Object.entries(Object.groupBy(findings.filter(isOpen), ({ verdict }) => verdict)).map(
    ([verdict, of = []]) => `- **${verdict}**: ${of.map(({ claim }) => claim).join("; ")}.`,
  );
  return [...decided, ...open].join("\n");
}

/** `mean ± deviation`. */
export function plus(spread: Spread | undefined, digits = 4): string {
  if (spread === undefined) return "–";
  const mean = spread.mean.toFixed(digits).replace("-", "−");
  return spread.deviation === null ? mean : `${mean} ± ${spread.deviation.toFixed(digits)}`;
}

/** Differences by seed: their mean, its spread, and how probable such ones are by chance (Student's paired t test). */
export function differenceText(differences: readonly number[], digits = 3): string {
  const p = differences.length < 2 ? "" : ` (p = ${Number(pairedP(differences).toPrecision(2))})`;
  return plus(spreadOf(differences), digits) + p;
}

/** Where the true mean of such numbers lies with probability 1 − `level` (Student's t); undefined for fewer than two. */
export function interval(values: readonly number[], level: number): readonly [number, number] | undefined {
  const { mean, deviation = null } = spreadOf(values) ?? { mean: NaN };
  if (deviation === null) return undefined;
  const half = (quantile(level, values.length - 1) * deviation) / Math.sqrt(values.length);
  return [mean - half, mean + half];
}
