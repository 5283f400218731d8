import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { RandloraError } from "../../../files/errors.ts";
import { naming, oneLine } from "../../../files/failure.ts";
import { folderName } from "../../../files/run-names.ts";
import { EMBEDDED, locateModel, modelOfRun, readRun } from "../../../models/folder/locate.ts";
import { hubBaseName, localPath, refuseMistyped } from "../../../models/folder/local-path.ts";
import { formatBytes, formatDuration, formatMeasure, formatNumber, formatShare } from "../../../terminal/format.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { peakRssBytes, profileJson, profileText } from "../../../terminal/profile.ts";
import { formatTable } from "../../../terminal/table.ts";
import { combineWish } from "../combine/plans.ts";
import type { MergeFlags, MergeOptions, MergeReport, MergeSummary } from "./options.ts";
import { defaultOutput } from "./output.ts";
import { merge } from "./run.ts";

/**
 * Merges adapters into a model's weights, and shows how far it is and what came of it.
 * @param given the model, or a run, which stands for its base and adapter
 */
export async function mergeToFiles(
  given: string | undefined,
  named: readonly string[],
  options: MergeFlags,
  context: Context<MergeReport>,
): Promise<void> {
  if (given === undefined) {
    throw new RandloraError("usage", "missing required argument 'BASE'", "see randlora merge --help");
  }
  const combine = combineWish(options);
  const run = await readRun(given);
  const adapters = run.adapter === undefined ? named : [run.adapter, ...named];
  if (adapters.length === 0) throw noAdapter(given);
  if (options.reduceIntruders !== undefined && (adapters.length > 1 || options.unmerge)) {
    const cause = options.unmerge
      ? "--unmerge takes nothing off them"
      : `it is defined for one, not ${adapters.length}`;
    throw new RandloraError("usage", `--reduce-intruders: ${cause}`, "merge one adapter after the other");
  }
  const name = run.adapter === undefined ? (hubBaseName(given) ?? given) : folderName(given);
  const out = options.out ?? defaultOutput(name, options.unmerge);
  const local = await weightsOf(await localPath(run.place, "model", context));
  const paths: string[] = [];
  for (const adapter of adapters) paths.push(await localPath(adapter, "adapter", context));
  const { scale: scales } = options;
  const settings = { ...options, combine, base: local, adapters: paths, out, scales, device: context.device };
  const summary = await mergeShown(settings, "merging", context);
  if (options.unmerge && options.dtype !== "f32") {
    context.log.info("an unmerge gives the base back exactly only where nothing was rounded (f32 weights come close)");
  }
  for (const line of options.dryRun ? [] : notesOfNothing(summary)) context.log.warn(line);
  if (!options.dryRun && !options.unmerge) {
    const { noteOfMergedRuns } = await import("../../../models/folder/runs-without-template.ts");
    const note = await noteOfMergedRuns((await locateModel(local)).folder, [local, ...paths], out);
    if (note !== undefined) context.log.info(note);
  }
  const kind = options.dryRun ? "text" : "files";
  context.result(mergeJson(summary, options.dryRun), () => mergeText(summary, options.dryRun, context), kind);
}

/** Writes a model as one GGUF file, without any adapter. @param given its path on this machine */
export async function writeModel(
  given: string,
  options: Pick<MergeOptions, "out" | "outtype" | "pre" | "force">,
  context: Context,
): Promise<MergeSummary> {
  const settings: MergeOptions = {
    ...options,
    base: await weightsOf(given),
    adapters: [],
    dtype: "keep",
    scales: [],
    rounding: "once",
    maxShardSize: Infinity,
    unmerge: false,
    verify: false,
    dryRun: false,
    device: context.device,
  };
  return await mergeShown(settings, "writing", context);
}

async function mergeShown(settings: MergeOptions, title: string, context: Context): Promise<MergeSummary> {
  try {
    return await merge(settings, context, context.signal, title);
  } catch (thrown) {
    if (context.signal.aborted) context.log.info("cancelled; nothing written");
    throw thrown;
  }
}

/** Nothing to merge. */
function noAdapter(given: string): RandloraError {
  const model = modelOfRun(given);
  if (model !== undefined) {
    const cause = `${oneLine(given)}: a run of --method full has no adapter`;
    return new RandloraError("usage", cause, `it trained the model itself: ${oneLine(model)}`);
  }
  if (given !== EMBEDDED && !existsSync(given)) {
    refuseMistyped(given, [EMBEDDED]);
    if (hubBaseName(given) === undefined) {
      const cause = `cannot read ${oneLine(given)}: no such file or folder`;
      return new RandloraError("file", cause, "name a model and an adapter, or a run: randlora runs list");
    }
  }
  const hint =
    "randlora merge BASE ADAPTER; a run stands for both: randlora merge RUN; without an adapter: randlora convert MODEL --to gguf";
  return new RandloraError("usage", `${oneLine(given)}: nothing to merge: ADAPTER is missing`, hint);
}

/** Where a model's weights are: a full fine-tuning run keeps them in a folder of its own. */
async function weightsOf(path: string): Promise<string> {
  const found = await naming(path, "read", stat(path));
  return found.isDirectory() ? (await locateModel(path)).folder : path;
}

/** For the user, where a merge changed no weight. */
function notesOfNothing(summary: MergeSummary): string[] {
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

const intrudersOf = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);

function inTensors(counts: readonly number[]): string {
  return `${formatNumber(counts.filter((count) => count > 0).length)} of ${formatNumber(counts.length)} tensors`;
}

/** Where each adapter's bases come from; no row where none has any. */
function basesRow({ bases }: MergeSummary): string[][] {
  const origins = new Set(bases.filter((origin) => origin !== "none"));
  const shown = [...origins].map((origin) => (origin === "saved" ? "saved with the adapter" : origin));
  return shown.length === 0 ? [] : [["bases", shown.join(", ")]];
}

function mergeJson(summary: MergeSummary, dryRun: boolean): MergeReport {
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
    ...(summary.intruders === undefined || dryRun ? {} : { intruders: intrudersOf(summary.intruders) }),
    ...profileJson(summary.profile),
  };
}

function mergeText(summary: MergeSummary, dryRun: boolean, { columns, style }: Context): string {
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
    ...(summary.intruders === undefined
      ? []
      : [["intruder dimensions", `${intrudersOf(summary.intruders)} reduced, in ${inTensors(summary.intruders)}`]]),
    ...(summary.blocksError === undefined
      ? []
      : [["rounding to blocks", `took off a Frobenius norm of ${formatMeasure(summary.blocksError)}`]]),
    ["time", `${formatDuration(summary.seconds["total"] ?? 0)} (${stages.join(", ")})`],
    ["peak memory", `${formatBytes(peakRssBytes())}, of it the device's buffers ${formatBytes(summary.peakGpuBytes)}`],
    ...(summary.gpu === undefined ? [] : [["device", summary.gpu]]),
  ];
  return formatTable(rows, { columns, wrap: true }) + profileText(summary.profile, columns);
}
