import { join, resolve } from "node:path";
import type { ComparisonFolder } from "../src/train/compare/folder.ts";
import type { ComparisonRecord } from "../src/train/compare/record.ts";
import type { CompareInput } from "../src/train/compare/run.ts";
import type { Comparison } from "../src/train/compare/types.ts";
import { Contradiction, RandloraError } from "../src/files/errors.ts";
import { type Context, defineCommand, optional } from "../src/terminal/options/command.ts";
import type { KeptGpu } from "../src/train/loop/kept-gpu.ts";
import type { TrainSettings } from "../src/train/settings/settings.ts";
import { adaptedPart, imageData, type RunsData, textData } from "../src/train/compare/load-data.ts";
import { commonSettings, readLike, readRates, readWishes } from "../src/train/compare/read-methods.ts";
import { COMPARE_OPTIONS, type CompareOptions } from "../src/train/compare/options.ts";
import { splitToMeasure } from "../src/measure/images/split-to-measure.ts";
import { EMBEDDED_RATE, EMBEDDED_RUN, lookUp, type Places, placesOf } from "../src/train/command/settings.ts";

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
  // What most people need; the rest is in --help-all.
  shown: [
    "methods",
    "params",
    "like",
    "seeds",
    "learningRate",
    "out",
    "resume",
    "data",
    "validSplit",
    "maxLength",
    "targets",
    "steps",
    "epochs",
    "batchSize",
    "seed",
  ],
  async run({ model }, options, context) {
    const { KeptGpu } = await import("../src/train/loop/kept-gpu.ts");
    using gpu = new KeptGpu(context.device);
    if (options.resume !== undefined) return await goOn(model, options, gpu, context);
    if (options.out === undefined) {
      throw new RandloraError("usage", "--out is missing", "name a folder for the comparison: --out DIR");
    }
    const comparison = await newComparison(model, options, context);
    const [first] = comparison.contenders;
    if (first === undefined) throw new RandloraError("usage", "--methods: no method", "name some");
    const places = await placesOf(first.settings, context);
    const around = { places, gpu, context, changed: {} };
    using resources = new DisposableStack();
    if (first.settings.images === null) {
      await begin(options.out, comparison, resources.use(await textData(places, context)), around);
    } else {
      await begin(options.out, comparison, resources.use(await imageData(places, context)), around);
    }
  },
});

/** What runs take from this machine. */
interface Surroundings {
  readonly places: Places;
  readonly gpu: KeptGpu;
  readonly context: Context;
  /** Settings that a resumed comparison has anew. */
  readonly changed: Partial<TrainSettings>;
}

/** Makes the folder of a comparison, and its runs. */
async function begin<Batch>(
  out: string,
  comparison: Comparison,
  data: RunsData<Batch>,
  around: Surroundings,
): Promise<void> {
  const { ComparisonFolder } = await import("../src/train/compare/folder.ts");
  const placed = placedOn(data, around);
  // What is wrong with the data or the GPU is found before a folder is made.
  for (const { settings } of comparison.contenders.slice(0, 1)) await placed.load(placed.local(settings));
  await around.gpu.open();
  const record = { comparison, results: [] };
  await using folder = await ComparisonFolder.create(out, record);
  try {
    await runAll(folder, record, placed, around.context);
  } catch (thrown) {
    await folder.discardUnused();
    throw thrown;
  }
}

/** Methods, sizes and settings by what was asked. */
async function newComparison(
  model: string | undefined,
  options: CompareOptions,
  context: Context,
): Promise<Comparison> {
  const { planComparison } = await import("../src/train/compare/plan.ts");
  const { describeBase } = await import("../src/adapters/base/base.ts");
  const { Checkpoint } = await import("../src/files/safetensors/checkpoint.ts");
  const { readConfig } = await import("../src/models/folder/config-json.ts");
  const wishes = readWishes(options);
  const { params, like } = options;
  if (params !== undefined && like !== undefined) {
    const cause = "--params and --like: both say how much is trained";
    throw new Contradiction(["params", "like"], cause, "give one of them");
  }
  const budgets = like === undefined ? params : readLike(like);
  const flags = commonSettings(model, options);
  const isEmbedded = flags.model === undefined && flags.data === undefined;
  const { location, named, facts } = await lookUp(isEmbedded ? EMBEDDED_RUN : flags, context);
  await using checkpoint = await Checkpoint.open(location.weights ?? location.folder);
  const whole = describeBase(checkpoint, (await readConfig(location.folder))?.value);
  const base =
    facts.images === undefined ? whole : { ...whole, within: await adaptedPart(location, flags, facts.images) };
  const common = { ...(isEmbedded ? EMBEDDED_RUN : {}), ...flags, ...named };
  const seeds = options.seeds ?? SEEDS;
  const leastRate = isEmbedded ? EMBEDDED_RATE : 0;
  return planComparison({ wishes, budgets, seeds, leastRate, common, facts, base });
}

/** Goes on with a comparison, perhaps with more seeds. */
async function goOn(model: string | undefined, options: CompareOptions, gpu: KeptGpu, context: Context): Promise<void> {
  const { ComparisonFolder } = await import("../src/train/compare/folder.ts");
  const { changeable } = await import("../src/train/settings/resume-settings.ts");
  const { RUN_OPTIONS } = await import("../src/train/settings/options.ts");
  const { resumedComparison } = await import("../src/train/compare/resume.ts");
  const path = options.resume === true ? options.out : options.resume;
  if (path === undefined) throw new RandloraError("usage", "--resume: which comparison?", "name it: --resume DIR");
  if (options.out !== undefined && resolve(options.out) !== resolve(path)) {
    const cause = `--resume ${path}: a comparison goes on where it is, not in ${options.out}`;
    throw new Contradiction(["out", "resume"], cause, "give one of them");
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
  const [first] = comparison.contenders;
  if (first === undefined) throw new TypeError("a comparison of nothing");
  const places = await placesOf(first.settings, context);
  const around = { places, gpu, context, changed: changeable(RUN_OPTIONS, common, "comparison") };
  using resources = new DisposableStack();
  if (first.settings.images === null) {
    const data = resources.use(await textData(places, context));
    await runAll(folder, record, placedOn(data, around), context);
  } else {
    const data = resources.use(await imageData(places, context));
    await runAll(folder, record, placedOn(data, around), context);
  }
}

type Placed<Batch> = Omit<CompareInput<Batch>, "folder" | "record">;

function placedOn<Batch>(data: RunsData<Batch>, { places, gpu, changed }: Surroundings): Placed<Batch> {
  const { location, local } = places;
  return {
    location,
    local: (settings) => ({ ...settings, data: local.data, ...changed }),
    load: (settings) => data.load(settings),
    gpu,
  };
}

async function runAll<Batch>(
  folder: ComparisonFolder,
  record: ComparisonRecord,
  placed: Placed<Batch>,
  context: Context,
): Promise<void> {
  const { compare } = await import("../src/train/compare/run.ts");
  const { ComparisonDisplay } = await import("../src/train/compare/display.ts");
  const { signal } = context;
  let ended: ComparisonRecord;
  {
    using display = new ComparisonDisplay(context);
    signal.addEventListener("abort", () => display.stopping());
    ended = await compare({ folder, record, ...placed }, display, signal);
  }
  await show(folder, ended, context);
}

/** The plot and the table, also as figures and a page in the comparison's folder. */
async function show(folder: ComparisonFolder, record: ComparisonRecord, context: Context): Promise<void> {
  const { metricsOf } = await import("../src/train/compare/run.ts");
  const { plannedRuns } = await import("../src/train/compare/plan.ts");
  const { compareJson, compareText } = await import("../src/train/compare/result.ts");
  const { methodCurves, sizeFigure } = await import("../src/train/compare/curves.ts");
  const { curvesSvg, sizesSvg } = await import("../src/train/compare/svg.ts");
  const { curvesPlot } = await import("../src/train/compare/terminal.ts");
  const { comparePage, FIGURES } = await import("../src/train/compare/page.ts");
  const { writeWhole } = await import("../src/files/whole-file.ts");
  const { signal, columns, style } = context;
  const runs = plannedRuns(record.comparison);
  const compared = {
    ...record,
    out: folder.path,
    ending: record.results.length < runs.length && signal.aborted ? "interrupted" : "finished",
  } as const;
  const [first] = record.comparison.contenders;
  const split = first && (await splitToMeasure(first.settings));
  const curves = methodCurves(record, await Promise.all(runs.map((run) => metricsOf(folder, run))));
  const figure = sizeFigure(record);
  const title = `${first?.settings.model}: methods at equal parameters`;
  const files = {
    "README.md": comparePage(compared, split),
    [FIGURES.curves]: curvesSvg(curves, title),
    ...(figure.methods.length === 0 ? {} : { [FIGURES.sizes]: sizesSvg(figure, title) }),
  };
  try {
    for (const [name, text] of Object.entries(files)) await writeWhole(join(folder.path, name), text);
  } catch (thrown) {
    // The results are safe on the disk: a figure is not worth failing for.
    context.log.warn(thrown instanceof Error ? thrown.message : String(thrown));
  }
  context.result(compareJson(compared), () =>
    compareText(compared, curvesPlot(curves, columns, style), columns, style),
  );
}
