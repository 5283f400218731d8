import { join, resolve } from "node:path";
import type { ComparisonFolder } from "../src/compare/folder.ts";
import type { ComparisonRecord } from "../src/compare/record.ts";
import type { CompareInput } from "../src/compare/run.ts";
import type { Comparison } from "../src/compare/types.ts";
import { RandloraError } from "../src/errors.ts";
import { type Context, defineCommand, optional } from "../src/options/command.ts";
import type { TrainingData } from "../src/text/data/load-run.ts";
import type { KeptGpu } from "../src/train/kept-gpu.ts";
import type { TrainSettings } from "../src/train/settings.ts";
import { commonSettings, readLike, readRates, readWishes } from "./compare-methods.ts";
import { COMPARE_OPTIONS, type CompareOptions } from "./compare-options.ts";
import { EMBEDDED_RATE, EMBEDDED_RUN, lookUp, type Places, placesOf } from "./finetune-settings.ts";

const SEEDS = 3;

/** `randlora compare`: methods at equal numbers of trained parameters. */
export const command = defineCommand({
  name: "compare",
  otherNames: ["benchmark", "sweep"],
  summary: "Train a model by several methods with equally many parameters, and say which is best",
  example: "randlora compare --methods randlora,randlora+sparse,lora --params 50K --steps 50 --out comparison",
  arguments: {
    model: optional(
      "MODEL",
      "a folder, an index.json, one .safetensors file, org/name on the Hub, or embedded, the small model inside the program; without MODEL and --data: that one, on data of its own",
    ),
  },
  options: COMPARE_OPTIONS,
  async run({ model }, options, context) {
    const { KeptGpu } = await import("../src/train/kept-gpu.ts");
    using gpu = new KeptGpu(context.device);
    if (options.resume !== undefined) return await goOn(model, options, gpu, context);
    if (options.out === undefined) {
      throw new RandloraError("usage", "--out is missing", "name a folder for the comparison: --out DIR");
    }
    const comparison = await newComparison(model, options, context);
    const [first] = comparison.contenders;
    if (first === undefined) throw new RandloraError("usage", "--methods: no method", "name some");
    const places = await placesOf(first.settings, context);
    // What is wrong with the data or the GPU is found before a folder is made.
    const placed = placedOn(places, gpu, context);
    await placed.load(placed.local(first.settings));
    await gpu.open();
    const { ComparisonFolder } = await import("../src/compare/folder.ts");
    const record = { comparison, results: [] };
    await using folder = await ComparisonFolder.create(options.out, record);
    try {
      await runAll(folder, record, placed, context);
    } catch (thrown) {
      await folder.discardUnused();
      throw thrown;
    }
  },
});

/** Methods, sizes and settings by what was asked. */
async function newComparison(
  model: string | undefined,
  options: CompareOptions,
  context: Context,
): Promise<Comparison> {
  const { planComparison } = await import("../src/compare/plan.ts");
  const { describeBase } = await import("../src/adapters/base.ts");
  const { Checkpoint } = await import("../src/safetensors/checkpoint.ts");
  const { readConfig } = await import("../src/merge/model-config.ts");
  const wishes = readWishes(options);
  const { params, like } = options;
  if (params !== undefined && like !== undefined) {
    throw new RandloraError("usage", "--params and --like: both say how much is trained", "give one of them");
  }
  const budgets = like === undefined ? params : readLike(like);
  const flags = commonSettings(model, options);
  const isEmbedded = flags.model === undefined && flags.data === undefined;
  const { location, named, facts } = await lookUp(isEmbedded ? EMBEDDED_RUN : flags, context);
  if (facts.pictures !== undefined) {
    const cause = `${flags.model}: a model of pictures, and compare trains language models`;
    throw new RandloraError("model", cause, "train it once a method: randlora finetune --method …");
  }
  await using checkpoint = await Checkpoint.open(location.weights ?? location.folder);
  const base = describeBase(checkpoint, (await readConfig(location.folder))?.value);
  const common = { ...(isEmbedded ? EMBEDDED_RUN : {}), ...flags, ...named };
  const seeds = options.seeds ?? SEEDS;
  const leastRate = isEmbedded ? EMBEDDED_RATE : 0;
  return planComparison({ wishes, budgets, seeds, leastRate, common, facts, base });
}

/** Goes on with a comparison, perhaps with more seeds. */
async function goOn(model: string | undefined, options: CompareOptions, gpu: KeptGpu, context: Context): Promise<void> {
  const { ComparisonFolder } = await import("../src/compare/folder.ts");
  const { resumedComparison } = await import("../src/compare/resume.ts");
  const path = options.resume === true ? options.out : options.resume;
  if (path === undefined) throw new RandloraError("usage", "--resume: which comparison?", "name it: --resume DIR");
  if (options.out !== undefined && resolve(options.out) !== resolve(path)) {
    const cause = `--resume ${path}: a comparison goes on where it is, not in ${options.out}`;
    throw new RandloraError("usage", cause, "give one of them");
  }
  const labels = options.methods === undefined ? undefined : readWishes(options).map(({ label }) => label);
  const common = commonSettings(model, options);
  const { folder: opened, record: recorded } = await ComparisonFolder.open(path);
  await using folder = opened;
  const methods = recorded.comparison.contenders.map(({ label, settings: { method } }) => ({ label, method }));
  const rates = readRates(options.learningRate, methods);
  const { params: budgets, like, seeds } = options;
  const comparison = resumedComparison(recorded.comparison, { labels, budgets, like, seeds, rates, common });
  const record = { ...recorded, comparison };
  await folder.write(record);
  const [first] = comparison.contenders;
  if (first === undefined) throw new TypeError("a comparison of nothing");
  const places = await placesOf(first.settings, context);
  const { saveEvery, keep, checkpointActivations } = common;
  const changed = Object.fromEntries(
    Object.entries({ saveEvery, keep, checkpointActivations }).filter(([, value]) => value !== undefined),
  );
  await runAll(folder, record, placedOn(places, gpu, context, changed), context);
}

/** What runs take from this machine; `changed`: settings that a resumed comparison has anew. */
function placedOn(
  { location, local: { data } }: Places,
  gpu: KeptGpu,
  context: Context,
  changed: Partial<TrainSettings> = {},
): Placed {
  const local = (settings: TrainSettings): TrainSettings => ({ ...settings, data, ...changed });
  let last: { readonly key: string; readonly data: TrainingData } | undefined;
  const load = async (settings: TrainSettings): Promise<TrainingData> => {
    // Data that are not split are the same for every seed.
    const key = settings.validSplit === null ? "" : String(settings.seed);
    if (last?.key !== key) {
      const { loadRunData } = await import("../src/train/data.ts");
      last = { key, data: (await loadRunData(settings, location.folder, { signal: context.signal })).data };
    }
    return last.data;
  };
  return { location, local, load, gpu };
}

type Placed = Omit<CompareInput, "folder" | "record">;

async function runAll(
  folder: ComparisonFolder,
  record: ComparisonRecord,
  placed: Placed,
  context: Context,
): Promise<void> {
  const { compare } = await import("../src/compare/run.ts");
  const { ComparisonDisplay } = await import("../src/terminal/comparison.ts");
  const { signal } = context;
  let ended: ComparisonRecord;
  {
    using display = new ComparisonDisplay(context);
    signal.addEventListener("abort", () => display.stopping());
    ended = await compare({ folder, record, ...placed }, display, signal);
  }
  await show(folder, ended, context);
}

/** The plot and the table, also as pictures and a page in the comparison's folder. */
async function show(folder: ComparisonFolder, record: ComparisonRecord, context: Context): Promise<void> {
  const { metricsOf } = await import("../src/compare/run.ts");
  const { plannedRuns } = await import("../src/compare/plan.ts");
  const { compareJson, compareText } = await import("../src/report/compare-result.ts");
  const { methodCurves, sizeFigure } = await import("../src/report/compare-curves.ts");
  const { curvesSvg, sizesSvg } = await import("../src/report/compare-svg.ts");
  const { curvesPlot } = await import("../src/report/compare-terminal.ts");
  const { comparePage, PICTURES } = await import("../src/report/compare-page.ts");
  const { writeWhole } = await import("../src/files/whole-file.ts");
  const { signal, columns, style } = context;
  const runs = plannedRuns(record.comparison);
  const compared = {
    ...record,
    out: folder.path,
    ending: record.results.length < runs.length && signal.aborted ? "interrupted" : "finished",
  } as const;
  const curves = methodCurves(record, await Promise.all(runs.map((run) => metricsOf(folder, run))));
  const figure = sizeFigure(record);
  const title = `${record.comparison.contenders[0]?.settings.model}: methods at equal parameters`;
  const files = {
    "README.md": comparePage(compared),
    [PICTURES.curves]: curvesSvg(curves, title),
    ...(figure.methods.length === 0 ? {} : { [PICTURES.sizes]: sizesSvg(figure, title) }),
  };
  try {
    for (const [name, text] of Object.entries(files)) await writeWhole(join(folder.path, name), text);
  } catch (thrown) {
    // The results are safe on the disk: a picture is not worth failing for.
    context.log.warn(thrown instanceof Error ? thrown.message : String(thrown));
  }
  context.result(compareJson(compared), () =>
    compareText(compared, curvesPlot(curves, columns, style), columns, style),
  );
}
