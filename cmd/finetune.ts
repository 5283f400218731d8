import { join, relative, resolve } from "node:path";
import { type Context, defineCommand, optional } from "../src/terminal/options/command.ts";
import { Contradiction, RandloraError } from "../src/files/errors.ts";
import type { ModelLocation } from "../src/models/folder/locate.ts";
import type { FinetuneResult } from "../src/train/report/train-result.ts";
import type { RunFolder } from "../src/train/run/run-folder.ts";
import type { FlatSettings, TrainSettings } from "../src/train/settings/settings.ts";
import type { TrainingInput } from "../src/train/loop/training.ts";
import type { TrainResult } from "../src/train/types.ts";
import { FINETUNE_OPTIONS, type FinetuneOptions } from "../src/train/settings/options.ts";
import { askedSettings, newSettings, type Places, placesOf } from "../src/train/command/settings.ts";
import { type Loaded, loadImages, loadTexts } from "../src/train/command/load-data.ts";
import { splitToMeasure } from "../src/measure/images/split-to-measure.ts";

/** `randlora finetune`: trains an adapter, or a whole model. */
export const command = defineCommand({
  name: "finetune",
  otherNames: ["train", "fine-tune", "tune", "sft"],
  summary: "Train an adapter for a model, or the model itself",
  example: "randlora finetune HuggingFaceTB/SmolLM2-135M-Instruct --data chats.jsonl --valid-split 0.1 --sparse",
  arguments: {
    model: optional(
      "MODEL",
      "a folder, an index.json, one .safetensors file, org/name on the Hub, or embedded, the small model inside the program; without MODEL and --data: that one, on data of its own",
    ),
  },
  options: FINETUNE_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "data",
    "validSplit",
    "maxLength",
    "method",
    "rank",
    "targets",
    "sparse",
    "initAdapter",
    "quantize",
    "steps",
    "epochs",
    "batchSize",
    "learningRate",
    "seed",
    "out",
    "resume",
    "dryRun",
  ],
  async run({ model }, options, context) {
    const asked = askedSettings(model, options);
    await using resources = new AsyncDisposableStack();
    const run = options.resume === undefined ? await newRun(asked, context) : await oldRun(asked, options, context);
    if (run.began !== undefined) resources.use(run.began.folder);
    if (run.settings.images === null) {
      await proceed(run, resources.use(await loadTexts(run.places, context)), options, context);
    } else {
      await proceed(run, resources.use(await loadImages(run.places, context)), options, context);
    }
  },
});

/** A run that will be made, or gone on with. */
interface PlannedRun {
  readonly settings: TrainSettings;
  readonly places: Places;
  /** Of one that is gone on with: its folder, and the settings there. */
  readonly began?: { readonly folder: RunFolder; readonly recorded: TrainSettings };
}

async function newRun(asked: Partial<FlatSettings>, context: Context): Promise<PlannedRun> {
  const settings = await newSettings(asked, context);
  return { settings, places: await placesOf(settings, context) };
}

async function oldRun(
  asked: Partial<FlatSettings>,
  { resume, out }: FinetuneOptions,
  context: Context,
): Promise<PlannedRun> {
  const { newestRun, RunFolder } = await import("../src/train/run/run-folder.ts");
  const { withOwnAdapter } = await import("../src/train/model/init-adapter.ts");
  const { resumeSettings } = await import("../src/train/settings/resume-settings.ts");
  const path = typeof resume === "string" ? resume : (out ?? (await newestRun()));
  if (out !== undefined && resolve(out) !== resolve(path)) {
    const cause = `--resume ${path}: a run goes on where it is, not in ${out}`;
    throw new Contradiction(["out", "resume"], cause, "give one of them");
  }
  const { folder, settings: recorded } = await RunFolder.open(path);
  try {
    const settings = resumeSettings(recorded, asked, path);
    const places = await placesOf(await withOwnAdapter(settings, folder), context);
    return { settings, places, began: { folder, recorded } };
  } catch (thrown) {
    await folder[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** Trains, or estimates what training takes, once the data are there. */
async function proceed<Batch>(
  run: PlannedRun,
  loaded: Loaded<Batch>,
  options: FinetuneOptions,
  context: Context,
): Promise<void> {
  const { places, began } = run;
  const { local, location } = places;
  const { subject } = loaded;
  const settings = { ...run.settings, sampleFormat: subject.sampleFormat };
  const { refuseShorter } = await import("../src/train/model/subject.ts");
  if (began !== undefined) refuseShorter(began.recorded, settings, subject);
  if (options.dryRun) {
    const { estimateRun } = await import("../src/train/loop/finetune.ts");
    loaded.show(await estimateRun({ settings: local, location, subject, device: context.device }));
    return;
  }
  if (began !== undefined) return await train(began.folder, places, loaded, context, { recorded: settings });
  const { RunFolder } = await import("../src/train/run/run-folder.ts");
  // What is wrong with the model, the targets or the adapter to go on from is found before a folder is made.
  await using source = await subject.open(local, location, { signal: context.signal });
  await using folder = await RunFolder.create(options.out, settings);
  try {
    await train(folder, places, loaded, context, { source });
  } catch (thrown) {
    // A GPU that is not there, or too small: nothing was trained.
    await folder.discardUnused();
    throw thrown;
  }
}

async function train<Batch>(
  folder: RunFolder,
  { local: settings, location }: Places,
  loaded: Loaded<Batch>,
  context: Context,
  more: Pick<TrainingInput<Batch>, "recorded" | "source">,
): Promise<void> {
  const { finetune } = await import("../src/train/loop/finetune.ts");
  const { TrainingDisplay } = await import("../src/train/report/display.ts");
  const { peakRssBytes } = await import("../src/terminal/peak-memory.ts");
  const { subject, losses, badImages } = loaded;
  for (const line of losses) context.log.info(line);
  const { device, signal } = context;
  let result: TrainResult;
  {
    using display = new TrainingDisplay(context);
    signal.addEventListener("abort", () => display.stopping());
    result = await finetune({ settings, location, subject, folder, device, ...more }, display, signal);
  }
  const shown = { ...result, badImages: badImages(), peakRssBytes: peakRssBytes() };
  const moved = await sizeOfChange(result, folder, location, settings, context);
  await show(shown, settings, folder, moved, context);
}

/** ‖ΔW‖ / ‖W‖; undefined where a run is not at its end, or was before, and where it cannot be told. */
async function sizeOfChange(
  result: TrainResult,
  folder: RunFolder,
  location: ModelLocation,
  { adapter }: TrainSettings,
  { device, signal, log }: Context,
): Promise<number | undefined> {
  const { wasOver } = await import("../src/train/report/train-result.ts");
  if (result.ending === "interrupted" || wasOver(result) || signal.aborted) return undefined;
  const { openDevice } = await import("../src/compute/open-device.ts");
  const { sizeOfAdapter, sizeOfModel } = await import("../src/measure/inspect/size-of-change.ts");
  try {
    if (adapter === null) return await sizeOfModel(folder.last("model"), location, signal);
    const gpu = await openDevice({ ...device, profile: false, onOpen: undefined });
    try {
      return await sizeOfAdapter(gpu, folder.last("adapter"), location, signal);
    } finally {
      gpu.close();
    }
  } catch (thrown) {
    // The run is safe on the disk: a figure is not worth failing for.
    if (!(thrown instanceof RandloraError) && !signal.aborted) throw thrown;
    log.verbose(`ΔW was not measured: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    return undefined;
  }
}

/** The plot, also as a figure in the run's folder; what came out; what to type next. */
async function show(
  result: FinetuneResult,
  settings: TrainSettings,
  folder: RunFolder,
  relativeChange: number | undefined,
  context: Context,
): Promise<void> {
  const { parseMetrics } = await import("../src/train/run/metrics.ts");
  const { lossCurve } = await import("../src/train/report/loss-curve.ts");
  const { lossPlot } = await import("../src/train/report/loss-terminal.ts");
  const { lossSvg } = await import("../src/train/report/loss-svg.ts");
  const { writeWhole } = await import("../src/files/whole-file.ts");
  const { nextCommand, trainResultJson, trainResultText, wasOver } =
    await import("../src/train/report/train-result.ts");
  const { columns, style } = context;
  const split = await splitToMeasure(settings);
  const { movedLosses, whatToTry } = await import("../src/train/report/what-moved.ts");
  const metrics = parseMetrics(await Bun.file(folder.metrics).text());
  const moved = { ...movedLosses(metrics), relativeChange };
  const isAtEnd = result.ending !== "interrupted" && !wasOver(result);
  const curve = lossCurve(metrics);
  const figure = join(folder.path, "loss.svg");
  const isDrawn = await writeWhole(figure, lossSvg(curve, `${settings.method}, ${settings.model}`)).then(
    () => true,
    // The run is safe on the disk: a figure is not worth failing for.
    (thrown: unknown) => void context.log.warn(thrown instanceof Error ? thrown.message : String(thrown)),
  );
  const run = relative("", result.run);
  const shown = { ...result, run: run === "" || run.startsWith("..") ? result.run : run };
  context.result(trainResultJson(result, moved), () =>
    trainResultText(
      shown,
      {
        // What was shown when the run ended is not news.
        plot: wasOver(result) ? "" : lossPlot(curve, columns, style),
        moved,
        advice: isAtEnd ? whatToTry(result, moved, settings.learningRate) : undefined,
        figure: isDrawn === true ? join(shown.run, "loss.svg") : undefined,
        next: nextCommand(shown, settings, split),
      },
      columns,
      style,
    ),
  );
}
