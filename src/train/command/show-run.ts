import { join, relative } from "node:path";
import { openDevice } from "../../compute/open-device.ts";
import { RandloraError } from "../../files/errors.ts";
import { modelTitle } from "../../files/run-names.ts";
import { writeWhole } from "../../files/whole-file.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { Context } from "../../terminal/options/command.ts";
import { splitToMeasure } from "../images/split-to-measure.ts";
import { lossCurve } from "../report/loss-curve.ts";
import { lossSvg } from "../report/loss-svg.ts";
import { lossPlot } from "../report/loss-terminal.ts";
import { sizeOfAdapter, sizeOfModel } from "../report/size-of-change.ts";
import { type FinetuneResult, nextCommand, trainResultJson, trainResultText, wasOver } from "../report/train-result.ts";
import type { TrainReport } from "../report/train-report.ts";
import { movedLosses, trainingAdvice } from "../report/loss-change.ts";
import { parseMetrics } from "../run/metrics.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { TrainResult } from "../result.ts";

/** ‖ΔW‖ / ‖W‖; undefined where a run is not at its end, or was before, and where it cannot be told. */
export async function sizeOfChange(
  result: TrainResult,
  folder: RunFolder,
  location: ModelLocation,
  { adapter }: TrainSettings,
  { device, signal, log }: Context,
): Promise<number | undefined> {
  if (result.ending === "interrupted" || wasOver(result) || signal.aborted) return undefined;
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
export async function showRun(
  result: FinetuneResult,
  settings: TrainSettings,
  folder: RunFolder,
  relativeChange: number | undefined,
  context: Context<TrainReport>,
): Promise<void> {
  const { columns, style } = context;
  const split = await splitToMeasure(settings);
  const metrics = parseMetrics(await Bun.file(folder.metrics).text());
  const moved = { ...movedLosses(metrics), relativeChange };
  const isAtEnd = result.ending !== "interrupted" && !wasOver(result);
  const curve = lossCurve(metrics);
  const figure = join(folder.path, "loss.svg");
  const isDrawn = await writeWhole(figure, lossSvg(curve, `${settings.method}, ${modelTitle(settings.model)}`)).then(
    () => true,
    // The run is safe on the disk: a figure is not worth failing for.
    (thrown: unknown) => void context.log.warn(thrown instanceof Error ? thrown.message : String(thrown)),
  );
  const run = relative("", result.run);
  const shown = { ...result, run: run === "" || run.startsWith("..") ? result.run : run };
  const render = () =>
    trainResultText(
      shown,
      {
        // What was shown when the run ended is not news.
        plot: wasOver(result) ? "" : lossPlot(curve, columns, style),
        moved,
        advice: isAtEnd ? trainingAdvice(result, moved, settings.learningRate) : undefined,
        figure: isDrawn === true ? join(shown.run, "loss.svg") : undefined,
        next: nextCommand(shown, settings, split),
      },
      columns,
      style,
    );
  context.result(trainResultJson(result, moved), render, "files");
}
