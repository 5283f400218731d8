import type { MethodSummary } from "../../adapters/method/training.ts";
import { methodNamed } from "../../adapters/methods.ts";
import { visible, visibleLines } from "../../files/visible.ts";
import { formatAmount, formatBytes, formatMeasure, formatNumber, formatShare } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { markedText, type MarkedText } from "../../data/text/samples/batch.ts";
import { sayUnknownRoles, type TrainingData } from "../../data/text/samples/load.ts";
import type { DataSet, DataTotals } from "../../data/text/samples/types.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { RunEstimate } from "../loop/finetune.ts";
import { type QuantizedJson, quantizedJson, quantizedText } from "../../terminal/quantized.ts";

/** Samples that are shown in full. */
const SHOWN = 3;

/** What `finetune --dry-run` found out. */
export interface DryRun {
  readonly data: TrainingData;
  readonly tokenizer: Tokenizer;
  readonly estimate: RunEstimate;
}

/**
 * `finetune --dry-run --json`: the training data as it would be used.
 * @json finetune --dry-run
 */
interface DryRunJson extends QuantizedJson {
  readonly dry_run: true;
  readonly trainable_parameters: number;
  readonly samples: number;
  readonly supervised_tokens: number;
  readonly total_tokens: number;
  /** Cut to --max-length. */
  readonly cut_samples: number;
  /** Left out: no supervised token. */
  readonly dropped_samples: number;
  readonly steps: number;
  readonly estimated_gpu_bytes: number;
  readonly estimated_disk_bytes: number;
}

export function dryRunJson({ data: { train, read }, estimate }: DryRun): DryRunJson {
  return {
    dry_run: true,
    trainable_parameters: estimate.method.trainableParameters,
    samples: train.totals.samples,
    supervised_tokens: train.totals.supervisedTokens,
    total_tokens: train.totals.tokens,
    cut_samples: read.reduce((sum, { totals }) => sum + totals.cut, 0),
    dropped_samples: read.reduce((sum, { totals }) => sum + totals.dropped, 0),
    steps: estimate.steps,
    estimated_gpu_bytes: estimate.estimatedGpuBytes,
    estimated_disk_bytes: estimate.estimatedDiskBytes,
    ...quantizedJson(estimate.method.quantized),
  };
}

/** The same for people: some samples with what is supervised, counts, the table of parameters, memory. */
export function dryRunText({ data, tokenizer, estimate }: DryRun, columns: number, style: Style): string {
  const { train, valid } = data;
  const samples = Array.from({ length: Math.min(SHOWN, train.length) }, (_, i) =>
    showSample(train, i, tokenizer, style),
  );
  const sets = [["training", train] as const, ["validation", valid] as const].flatMap(([name, set]) =>
    set === undefined ? [] : [dataRow(name, set.totals)],
  );
  const head = ["", "samples", "tokens", "supervised", "longest"];
  const parts = [
    ...samples,
    formatTable(sets, { head, align: "lrrrr", columns, markHead: style.dim }),
    lossesText(data),
    "\n",
    estimateText(estimate, columns, style),
  ];
  return parts.join("");
}

/** What is trained, for how long, and the memory that it takes. */
export function estimateText(estimate: RunEstimate, columns: number, style: Style): string {
  const { quantized } = estimate.method;
  const spared = estimate.checkpointing ? ", with activations recomputed" : "";
  const { method, adapter, learningRate } = estimate.settings;
  const { training } = methodNamed(method);
  // Of PRANC the number of bases says how much is trained.
  const setting = training.result === "adapter" ? training.capacity.setting : undefined;
  const own: Readonly<Record<string, unknown>> = { ...adapter };
  const size = setting === undefined ? "" : `, ${setting} ${String(own[setting])}`;
  const rows = [
    ["method", `${method}${size}, learning rate ${formatMeasure(learningRate)}`],
    ["steps", `${formatNumber(estimate.steps)} (${formatAmount(estimate.epochs, "epoch")})`],
    ["device memory", `about ${formatBytes(estimate.estimatedGpuBytes)}${spared}`],
    ["disk", `about ${formatBytes(estimate.estimatedDiskBytes)}`],
    ...(quantized === undefined ? [] : [["frozen layers", quantizedText(quantized)]]),
    ...estimate.method.notes.map((note) => ["note", note]),
  ];
  return `${parameterTable(estimate.method, columns, style.dim)}\n${formatTable(rows, { columns })}`;
}

/**
 * What was lost of each file on the way to the model, one line a file: cut and dropped samples, roles that are unknown. Empty
 * where nothing was.
 */
export function lossesText({ read }: TrainingData): string {
  return read
    .flatMap(({ path, totals }) => {
      const { cut, dropped, samples, unknownRoles } = totals;
      const all = formatNumber(samples + dropped);
      const parts = [
        ...(cut === 0 ? [] : [`${formatNumber(cut)} of ${all} samples were cut to the maximum length`]),
        ...(dropped === 0 ? [] : [`${formatNumber(dropped)} of ${all} had no supervised tokens and were left out`]),
        ...(unknownRoles.length === 0 ? [] : [sayUnknownRoles(totals)]),
      ];
      return parts.length === 0 ? [] : [`${path}: ${parts.join("; ")}\n`];
    })
    .join("");
}

function showSample(set: DataSet, i: number, tokenizer: Tokenizer, style: Style): string {
  const sample = set.sample(i);
  const counts = `${formatAmount(set.lengthOf(i), "token")}, ${formatNumber(set.supervisedOf(i))} supervised`;
  const title = style.bold(`sample ${i + 1} (line, element or row ${sample.line}): ${counts}`);
  return `${title}\n${sampleText(markedText(sample, tokenizer), style)}\n`;
}

function dataRow(name: string, totals: DataTotals): string[] {
  const share = formatShare(totals.supervisedTokens / Math.max(totals.tokens, 1));
  return [
    name,
    formatNumber(totals.samples),
    formatNumber(totals.tokens),
    `${formatNumber(totals.supervisedTokens)} (${share})`,
    formatNumber(totals.longest),
  ];
}

interface Group {
  readonly name: string;
  readonly shape: string;
  count: number;
  parameters: number;
}

/**
 * What is trained, one row for all modules that differ in their layer's number only: `model.layers.*.self_attn.q_proj`.
 *
 * @param markHead how headings are marked
 */
export function parameterTable(
  { modules, trainableParameters }: MethodSummary,
  columns: number,
  markHead: (text: string) => string,
): string {
  const groups = new Map<string, Group>();
  for (const module of modules) {
    const name = visible(module.name).replaceAll(/(^|\.)\d+(?=\.|$)/g, "$1*");
    const shape = module.shape.map((size) => formatNumber(size)).join(" × ");
    const key = `${name} ${shape} ${module.parameters}`;
    const group = groups.get(key) ?? { name, shape, count: 0, parameters: 0 };
    group.count++;
    group.parameters += module.parameters;
    groups.set(key, group);
  }
  const rows = [...groups.values()].map(({ name, shape, count, parameters }) => [
    name,
    formatNumber(count),
    shape,
    // Without numbers of their own modules have a share in those of all.
    parameters === 0 ? "shared" : formatNumber(parameters / count),
    parameters === 0 ? "" : formatNumber(parameters),
  ]);
  const total = ["all", formatNumber(modules.length), "", "", formatNumber(trainableParameters)];
  const head = ["trained", "modules", "shape of W", "each", "parameters"];
  return formatTable([...rows, total], { head, align: "lrrrr", columns, markHead });
}

/** Characters of a sample that are shown; the middle of a longer one is left out. */
const LONGEST = 1200;

/**
 * A sample for people: what is supervised is green, the rest dim; without colors it stands between ⟦ and ⟧. Control
 * characters are shown as symbols of them: a data set must not drive the terminal.
 *
 * @returns lines, each indented and ended by a newline; newlines at the sample's end are left out
 */
export function sampleText(parts: readonly MarkedText[], style: Style): string {
  const isColored = style.green("x") !== "x";
  const mark = ({ text, supervised }: MarkedText): string => {
    if (!isColored) return supervised ? `⟦${text}⟧` : text;
    const paint = supervised ? style.green : style.dim;
    // Line by line, so that the indentation between them stays plain.
    return text
      .split("\n")
      .map((line) => (line === "" ? "" : paint(line)))
      .join("\n");
  };
  const shown = shorten(parts.map((part) => ({ ...part, text: visibleLines(part.text.replaceAll("\r\n", "␍\n")) })));
  const text = shown.map(mark).join("").replace(/\n+$/, "");
  return `${text.replace(/^(?=.)/gm, "  ")}\n`;
}

/** Leaves out the middle, where there is too much. */
function shorten(parts: readonly MarkedText[]): MarkedText[] {
  const total = parts.reduce((sum, { text }) => sum + text.length, 0);
  const excess = total - LONGEST;
  if (excess <= 0) return [...parts];
  const from = LONGEST / 2;
  let at = 0;
  return parts.flatMap((part) => {
    const start = at;
    at += part.text.length;
    const head = part.text.slice(0, Math.max(from - start, 0));
    const tail = part.text.slice(Math.max(from + excess - start, 0));
    if (head.length >= part.text.length || start >= from + excess) return [part];
    const left = start <= from && from < at ? ` … ${excess} characters … ` : "";
    return head + left + tail === "" ? [] : [{ ...part, text: (head + left + tail).toWellFormed() }];
  });
}
