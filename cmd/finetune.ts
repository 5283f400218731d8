import { join, relative, resolve } from "node:path";
import { type Context, defineCommand, optional } from "../src/options/command.ts";
import { RandloraError } from "../src/errors.ts";
import type { RunData } from "../src/train/data.ts";
import type { RunFolder } from "../src/train/run-folder.ts";
import type { TrainSettings } from "../src/train/settings.ts";
import type { MicroBatch } from "../src/text/data/types.ts";
import type { TrainResult } from "../src/train/types.ts";
import { FINETUNE_OPTIONS } from "./finetune-options.ts";
import { askedSettings, newSettings, type Places, placesOf } from "./finetune-settings.ts";
import type { TrainingInput } from "../src/train/training.ts";

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
  async run({ model }, options, context) {
    const { newestRun, RunFolder } = await import("../src/train/run-folder.ts");
    const { refuseShorter } = await import("../src/train/subject.ts");
    const { textSubject } = await import("../src/train/text-subject.ts");
    const { withOwnAdapter } = await import("../src/train/init-adapter.ts");
    const { resumeSettings } = await import("../src/train/resolve-settings.ts");
    const asked = askedSettings(model, options);
    if (options.resume === undefined) {
      const settings = await newSettings(asked, context);
      const places = await placesOf(settings, context);
      const data = await loadData(places, context);
      if (options.dryRun) return await dryRun(places, data, context);
      // What is wrong with the model, the targets or the adapter to go on from is found before a folder is made.
      const { ModelSource } = await import("../src/train/model.ts");
      await using source = await ModelSource.open(places.local, places.location, { signal: context.signal });
      await using folder = await RunFolder.create(options.out, settings);
      try {
        return await train(folder, places, data, context, { source });
      } catch (thrown) {
        // A GPU that is not there, or too small: nothing was trained.
        await folder.discardUnused();
        throw thrown;
      }
    }
    const path = options.resume === true ? (options.out ?? (await newestRun())) : options.resume;
    if (options.out !== undefined && resolve(options.out) !== resolve(path)) {
      const cause = `--resume ${path}: a run goes on where it is, not in ${options.out}`;
      throw new RandloraError(
        "usage",
        cause,
        "give one of them; where no --out was typed, a configuration file or RANDLORA_OUT has it",
      );
    }
    const { folder: opened, settings: recorded } = await RunFolder.open(path);
    await using folder = opened;
    const settings = resumeSettings(recorded, asked);
    const places = await placesOf(await withOwnAdapter(settings, folder), context);
    const data = await loadData(places, context);
    refuseShorter(recorded, settings, textSubject(data.data));
    if (options.dryRun) return await dryRun(places, data, context);
    await train(folder, places, data, context, { recorded: settings });
  },
});

/** Reads and tokenises the data, with a bar. */
async function loadData({ local, location }: Places, context: Context): Promise<RunData> {
  const { loadRunData } = await import("../src/train/data.ts");
  using bar = context.progress({ title: "reading", unit: "samples" });
  let shown = 0;
  const onProgress = (samples: number): void => {
    // Training and validation data are counted apart.
    bar.add({ items: samples >= shown ? samples - shown : samples });
    shown = samples;
  };
  const loaded = await loadRunData(local, location.folder, { onProgress, signal: context.signal });
  return loaded;
}

async function dryRun({ local, location }: Places, { data, tokenizer }: RunData, context: Context): Promise<void> {
  const { estimateRun } = await import("../src/train/finetune.ts");
  const { textSubject } = await import("../src/train/text-subject.ts");
  const { dryRunJson, dryRunText } = await import("../src/report/dry-run.ts");
  const estimate = await estimateRun({ settings: local, location, subject: textSubject(data), device: context.device });
  const found = { data, tokenizer, estimate };
  context.result(dryRunJson(found), () => dryRunText(found, context.columns, context.style));
}

async function train(
  folder: RunFolder,
  places: Places,
  { data }: RunData,
  context: Context,
  more: Pick<TrainingInput<MicroBatch>, "recorded" | "source">,
): Promise<void> {
  const { finetune } = await import("../src/train/finetune.ts");
  const { textSubject } = await import("../src/train/text-subject.ts");
  const { TrainingDisplay } = await import("../src/terminal/training.ts");
  const { lossesText } = await import("../src/report/dry-run.ts");
  for (const line of lossesText(data).split("\n").slice(0, -1)) context.log.info(line);
  const { local: settings, location } = places;
  const { device, signal } = context;
  let result: TrainResult;
  {
    using display = new TrainingDisplay(context);
    signal.addEventListener("abort", () => display.stopping());
    result = await finetune(
      { settings, location, subject: textSubject(data), folder, device, ...more },
      display,
      signal,
    );
  }
  await show(result, settings, folder, context);
}

/** The plot, also as a picture in the run's folder; what came out; what to type next. */
async function show(result: TrainResult, settings: TrainSettings, folder: RunFolder, context: Context): Promise<void> {
  const { parseMetrics } = await import("../src/report/metrics.ts");
  const { lossCurve } = await import("../src/report/loss-curve.ts");
  const { lossPlot } = await import("../src/report/loss-terminal.ts");
  const { lossSvg } = await import("../src/report/loss-svg.ts");
  const { writeWhole } = await import("../src/files/whole-file.ts");
  const { nextCommand, trainResultJson, trainResultText, wasOver } = await import("../src/report/train-result.ts");
  const { columns, style } = context;
  const curve = lossCurve(parseMetrics(await Bun.file(folder.metrics).text()));
  const picture = join(folder.path, "loss.svg");
  const isDrawn = await writeWhole(picture, lossSvg(curve, `${settings.method}, ${settings.model}`)).then(
    () => true,
    // The run is safe on the disk: a picture is not worth failing for.
    (thrown: unknown) => void context.log.warn(thrown instanceof Error ? thrown.message : String(thrown)),
  );
  const run = relative("", result.run);
  const shown = { ...result, run: run === "" || run.startsWith("..") ? result.run : run };
  context.result(trainResultJson(result), () =>
    trainResultText(
      shown,
      {
        // What was shown when the run ended is not news.
        plot: wasOver(result) ? "" : lossPlot(curve, columns, style),
        picture: isDrawn === true ? join(shown.run, "loss.svg") : undefined,
        next: nextCommand(shown),
      },
      columns,
      style,
    ),
  );
}
