import {
  bytes,
  choice,
  type Context,
  defineCommand,
  flag,
  number,
  repeat,
  required,
  several,
  text,
} from "../src/terminal/options/command.ts";
import { basename, resolve } from "node:path";
import { RandloraError } from "../src/files/errors.ts";
import type { MergeObserver, MergeSummary } from "../src/adapters/merge/to-files/run.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";
import { formatBytes, formatDuration, formatMeasure, formatNumber, formatShare } from "../src/terminal/format.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { peakRssBytes } from "../src/terminal/peak-memory.ts";
import { profileJson, profileText } from "../src/terminal/profile.ts";
import { formatTable } from "../src/terminal/table.ts";

/** `randlora merge`: writes a model with adapters added to its weights. */
export const command = defineCommand({
  name: "merge",
  otherNames: ["fuse", "apply", "export-lora"],
  summary: "Add adapters to a model's weights and write the result",
  example: "randlora merge HuggingFaceTB/SmolLM2-135M-Instruct my-adapter --out smollm2-mine",
  arguments: {
    base: required(
      "BASE",
      "the model: a folder, an index.json, one .safetensors file, or org/name on the Hub; a run stands for its base and adapter",
    ),
    adapters: several("ADAPTER", "a PEFT folder, an adapter.json, a run folder, or org/name on the Hub"),
  },
  options: {
    out: text({
      value: "PATH",
      short: "o",
      topic: "Output",
      help: "output folder or file",
      defaultText: "BASE-merged beside BASE; ./NAME-merged for a Hub name and a run",
    }),
    dtype: choice(["keep", "f32", "f16", "bf16"], {
      topic: "Output",
      help: "number format of the floating-point tensors",
      default: "keep",
    }),
    maxShardSize: bytes({
      topic: "Output",
      help: "maximum size of a shard (weight file)",
      default: 5e9,
      defaultText: "5GB",
    }),
    force: flag({ topic: "Output", help: "replace an existing output" }),
    scale: repeat(
      number({
        value: "S",
        topic: "Adapters",
        help: "adapter scale: multiplies α/r; once for all, or once for each ADAPTER",
      }),
    ),
    rounding: choice(["once", "peft"], {
      topic: "Adapters",
      help: "rounding: the sum once, or ΔW first and after each adapter as PEFT's merge does",
      default: "once",
    }),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "Adapters",
      help: `random generator of the bases, if the adapter does not record it: ${GENERATOR_NAMES.join(", ")}`,
    }),
    unmerge: flag({
      topic: "Adapters",
      help: "subtract the adapters instead of adding them (not bit-exact below f32)",
    }),
    verify: flag({
      topic: "Checks",
      help: "check a sample of the weights in double precision before the output appears",
    }),
    dryRun: flag({ topic: "Checks", help: "show what would be done without writing" }),
  },
  async run({ base: given, adapters: named }, options, context) {
    const { readRun } = await import("../src/chat/default-model.ts");
    const { localPath, hubBaseName } = await import("../src/models/folder/places.ts");
    const { merge } = await import("../src/adapters/merge/to-files/run.ts");
    const { defaultOutput } = await import("../src/adapters/merge/to-files/output.ts");
    const run = await readRun(given);
    const adapters = run.adapter === undefined ? named : [run.adapter, ...named];
    if (adapters.length === 0) throw await noAdapter(given);
    const name = run.adapter === undefined ? hubBaseName(given) : basename(resolve(given));
    const suffix = options.unmerge ? "-unmerged" : "-merged";
    const out = options.out ?? (name === undefined ? defaultOutput(given, options.unmerge) : `${name}${suffix}`);
    const local = await weightsOf(await localPath(run.place, "model", context));
    const paths: string[] = [];
    for (const adapter of adapters) paths.push(await localPath(adapter, "adapter", context));
    const settings = { ...options, base: local, adapters: paths, out, scales: options.scale };
    const observer = new Observer(context);
    try {
      const summary = await merge({ ...settings, device: context.device }, observer, context.signal);
      observer.close();
      if (options.unmerge && options.dtype !== "f32") {
        context.log.info(
          "an unmerge gives the base back exactly only where nothing was rounded (f32 weights come close)",
        );
      }
      for (const line of options.dryRun ? [] : notesOfNothing(summary)) context.log.warn(line);
      context.result(toJson(summary, options.dryRun), () => render(summary, options.dryRun, context));
    } catch (thrown) {
      observer.close();
      if (context.signal.aborted) context.log.info("cancelled; nothing written");
      throw thrown;
    } finally {
      observer.close();
    }
  },
});

/** Nothing to merge. */
async function noAdapter(given: string): Promise<RandloraError> {
  const { oneLine } = await import("../src/files/failure.ts");
  const { existsSync } = await import("node:fs");
  const { modelOfRun } = await import("../src/models/folder/locate.ts");
  const { refuseMistyped } = await import("../src/models/folder/mistyped.ts");
  const model = modelOfRun(given);
  if (model !== undefined) {
    const cause = `${oneLine(given)}: a run of --method full has no adapter`;
    return new RandloraError("usage", cause, `it trained the model itself: ${oneLine(model)}`);
  }
  if (!existsSync(given)) refuseMistyped(given);
  const hint = "randlora merge BASE ADAPTER; a run stands for both: randlora merge RUN";
  return new RandloraError("usage", `${oneLine(given)}: nothing to merge: ADAPTER is missing`, hint);
}

/** Where a model's weights are: a full fine-tuning run keeps them in a folder of its own. */
async function weightsOf(path: string): Promise<string> {
  const { stat } = await import("node:fs/promises");
  const { locateModel } = await import("../src/models/folder/locate.ts");
  const { naming } = await import("../src/files/failure.ts");
  const found = await naming(path, "read", stat(path));
  return found.isDirectory() ? (await locateModel(path)).folder : path;
}

/** Shows a merge's progress as a bar on stderr. */
class Observer implements MergeObserver {
  readonly #context: Context;
  #bar: Progress | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  warn(line: string): void {
    this.#context.log.warn(line);
  }

  start({ bytes: total, tensors }: { bytes: number; tensors: number }): void {
    this.#bar = this.#context.progress({ title: "merging", bytes: total, items: tensors, unit: "tensors" });
  }

  tensor(name: string): void {
    this.#bar?.label(name);
    this.#bar?.add({ items: 1 });
  }

  bytes(count: number): void {
    this.#bar?.add({ bytes: count });
  }

  close(): void {
    this.#bar?.close();
    this.#bar = undefined;
  }
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

/** What is shown where no generator draws an adapter's bases. */
const BASES: Readonly<Record<string, string>> = { saved: "saved with the adapter", none: "none (LoRA)" };

/** A dry run has measured nothing: null stands where a merge has figures. */
function toJson(summary: MergeSummary, dryRun: boolean): object {
  const { maxAbsDelta, frobenius, changedShare } = totals(summary);
  const generators = summary.bases.map((origin) => (origin === "saved" || origin === "none" ? null : origin));
  const [generator = null] = generators;
  return {
    ...(dryRun ? { dry_run: true } : {}),
    out: summary.out,
    tensors: summary.tensors,
    merged: summary.merged,
    bytes: summary.bytes,
    generator: generators.length === 1 ? generator : generators,
    seconds: summary.seconds,
    peak_rss_bytes: peakRssBytes(),
    peak_gpu_bytes: summary.peakGpuBytes,
    max_abs_delta: dryRun ? null : maxAbsDelta,
    frobenius_delta: dryRun ? null : frobenius,
    changed_share: dryRun ? null : changedShare,
    ...(summary.maxErrorUlp === undefined ? {} : { max_error_ulp: summary.maxErrorUlp }),
    ...profileJson(summary.profile),
  };
}

function render(summary: MergeSummary, dryRun: boolean, { columns, style }: Context): string {
  const tensors = `${formatNumber(summary.merged)} of ${formatNumber(summary.tensors)}`;
  const drawn = summary.bases.map((origin) => BASES[origin] ?? origin).join(", ");
  if (dryRun) {
    const rows = [
      ["would write", summary.out],
      ["size", formatBytes(summary.bytes)],
      ["tensors to merge", tensors],
      ["bases", drawn],
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
    ["bases", drawn],
    ["ΔW", `max ${formatMeasure(maxAbsDelta)}, Frobenius norm ${formatMeasure(frobenius)}`],
    ["weights changed", `${formatShare(changedShare)} of those merged, after rounding`],
    ...(summary.maxErrorUlp === undefined
      ? []
      : [["verified", `a sample in f64: at most ${formatMeasure(summary.maxErrorUlp)} units in the last place off`]]),
    ["time", `${formatDuration(summary.seconds["total"] ?? 0)} (${stages.join(", ")})`],
    ["peak memory", `${formatBytes(peakRssBytes())}, of it the device's buffers ${formatBytes(summary.peakGpuBytes)}`],
    ["device", summary.gpu ?? ""],
  ];
  return formatTable(rows, { columns, wrap: true }) + profileText(summary.profile, columns);
}
