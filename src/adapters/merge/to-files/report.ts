import { formatBytes, formatDuration, formatMeasure, formatNumber, formatShare } from "../../../terminal/format.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { peakRssBytes, profileJson, profileText } from "../../../terminal/profile.ts";
import { formatTable } from "../../../terminal/table.ts";
import type { MergeReport, MergeSummary } from "./types.ts";

/** For the user, where a merge changed no weight. */
export function notesOfNothing(summary: MergeSummary): string[] {
  const { frobenius, changedShare } = totals(summary);
  if (summary.merged === 0 || changedShare > 0) return [];
  const cause =
    frobenius === 0
      ? "ΔW is zero: the adapter was not trained, or its best step is 0"
      : "ΔW is smaller than the rounding of the weights";
  return [`the merged weights are those of the base: ${cause}`];
}

function totals({ reports }: MergeSummary) {
  const sum = (of: (report: MergeSummary["reports"][number]) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  return {
    maxAbsDelta: reports.reduce((most, report) => Math.max(most, report.maxAbsDelta), 0),
    frobenius: Math.sqrt(sum((report) => report.sumOfSquares)),
    changedShare:
      sum((report) => report.changed) /
      Math.max(
        1,
        sum((report) => report.elements),
      ),
  };
}

/** Where each adapter's bases come from; no row where none has any. */
function basesRow({ bases }: MergeSummary): string[][] {
  const origins = new Set(bases.filter((origin) => origin !== "none"));
  const shown = [...origins].map((origin) => (origin === "saved" ? "saved with the adapter" : origin));
  return shown.length === 0 ? [] : [["bases", shown.join(", ")]];
}

export function mergeJson(summary: MergeSummary, dryRun: boolean): MergeReport {
  const { maxAbsDelta, frobenius, changedShare } = totals(summary);
  const generators = summary.bases.map((origin) => (origin === "saved" || origin === "none" ? null : origin));
  const [generator = null] = generators;
  return {
    ...(dryRun ? { dry_run: true } : {}),
    out: summary.out,
    tensors: summary.tensors,
    merged: summary.merged,
    combine: summary.combine,
    bytes: summary.bytes,
    generator: generators.length === 1 ? generator : generators,
    seconds: summary.seconds,
    peak_rss_bytes: peakRssBytes(),
    peak_gpu_bytes: summary.peakGpuBytes,
    max_abs_delta: dryRun ? null : maxAbsDelta,
    frobenius_delta: dryRun ? null : frobenius,
    changed_share: dryRun ? null : changedShare,
    ...(summary.maxErrorUlp === undefined ? {} : { max_error_ulp: summary.maxErrorUlp }),
    ...(summary.blocksError === undefined ? {} : { blocks_error: summary.blocksError }),
    ...profileJson(summary.profile),
  };
}

export function mergeText(summary: MergeSummary, dryRun: boolean, { columns, style }: Context): string {
  const tensors = `${formatNumber(summary.merged)} of ${formatNumber(summary.tensors)}`;
  if (dryRun) {
    const rows = [
      ["would write", summary.out],
      ["size", formatBytes(summary.bytes)],
      ["tensors to merge", tensors],
      ...basesRow(summary),
    ];
    return formatTable(rows, { columns, wrap: true });
  }
  const { maxAbsDelta, frobenius, changedShare } = totals(summary);
  const stages = Object.entries(summary.seconds)
    .filter(([name]) => name !== "total")
    .map(([name, seconds]) => `${name} ${formatDuration(seconds)}`);
  const rows = [
    ["written", style.bold(summary.out)],
    ["size", formatBytes(summary.bytes)],
    ["tensors merged", tensors],
    ...basesRow(summary),
    ...(summary.combine === "sum" ? [] : [["combined by", summary.combine]]),
    ["ΔW", `max ${formatMeasure(maxAbsDelta)}, Frobenius norm ${formatMeasure(frobenius)}`],
    ["weights changed", `${formatShare(changedShare)} of those merged, after rounding`],
    ...(summary.maxErrorUlp === undefined
      ? []
      : [["verified", `a sample in f64: at most ${formatMeasure(summary.maxErrorUlp)} units in the last place off`]]),
    ...(summary.blocksError === undefined
      ? []
      : [["rounding to blocks", `took off a Frobenius norm of ${formatMeasure(summary.blocksError)}`]]),
    ["time", `${formatDuration(summary.seconds["total"] ?? 0)} (${stages.join(", ")})`],
    ["peak memory", `${formatBytes(peakRssBytes())}, of it the device's buffers ${formatBytes(summary.peakGpuBytes)}`],
    ...(summary.gpu === undefined ? [] : [["device", summary.gpu]]),
  ];
  return formatTable(rows, { columns, wrap: true }) + profileText(summary.profile, columns);
}
