import {
  formatAmount,
  formatBytes,
  formatDuration,
  formatMeasure,
  formatNumber,
  formatShare,
} from "../../../terminal/format.ts";
import { jobText } from "../../../terminal/options/shared/job.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { peakRssBytes } from "../../../terminal/peak-memory.ts";
import { profileJson, profileText } from "../../../terminal/profile.ts";
import { formatTable } from "../../../terminal/table.ts";
import type { MergeReport } from "./merge-report.ts";
import type { MergeSummary } from "./types.ts";

/** For the user, where a merge changed no weight. */
export function notesOfNothing(summary: MergeSummary): string[] {
  const { frobenius, changedShare } = totals(summary);
  if (summary.merged === 0 || isOfOthers(summary) || changedShare > 0) return [];
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

/** A part that came when others had put the output together, or before, knows none of its figures. */
function isOfOthers({ merged, reports }: MergeSummary): boolean {
  return merged > 0 && reports.length === 0;
}

export function mergeJson(summary: MergeSummary, dryRun: boolean): MergeReport {
  const { maxAbsDelta, frobenius, changedShare } = totals(summary);
  const isUnknown = dryRun || isOfOthers(summary);
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
    max_abs_delta: isUnknown ? null : maxAbsDelta,
    frobenius_delta: isUnknown ? null : frobenius,
    changed_share: isUnknown ? null : changedShare,
    ...(summary.maxErrorUlp === undefined ? {} : { max_error_ulp: summary.maxErrorUlp }),
    ...(summary.blocksError === undefined ? {} : { blocks_error: summary.blocksError }),
    ...(summary.part === undefined
      ? {}
      : { part: jobText(summary.part.job), shards_written: summary.part.written, shards_left: summary.part.left }),
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
  if (summary.part !== undefined && summary.part.left > 0) {
    const { job, written, left } = summary.part;
    const shards = `part ${jobText(job)}: ${formatAmount(written, "shard")} written`;
    return `${shards}; ${formatNumber(left)} of other parts are missing until ${summary.out} appears\n`;
  }
  if (isOfOthers(summary)) return `${style.bold(summary.out)} is complete\n`;
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
