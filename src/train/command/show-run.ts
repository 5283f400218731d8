import { join, relative } from "node:path";
import { openBase } from "../../adapters/base/named-base.ts";
import { openDeltas } from "../../adapters/merge/in-memory/deltas.ts";
import type { Device } from "../../compute/device/device.ts";
import { openDevice } from "../../compute/open-device.ts";
import { RandloraError } from "../../files/errors.ts";
import { modelTitle } from "../../files/run-names.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { isFloat } from "../../files/safetensors/dtype.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import { writeWhole } from "../../files/whole-file.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import type { Context } from "../../terminal/options/command.ts";
import { lossCurve, lossPlot, lossSvg } from "../report/loss-curve.ts";
import {
  type FinetuneResult,
  movedLosses,
  nextCommand,
  splitToMeasure,
  trainingAdvice,
  trainResultJson,
  trainResultText,
  wasOver,
} from "../report/train-result.ts";
import type { TrainReport } from "../report/train-report.ts";
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

/** Elements of weights that are looked at: enough to tell a size, and little beside a run. */
const SAMPLE_ELEMENTS = 2 ** 22;

/*
 * How far training moved weights: ‖ΔW‖ / ‖W‖ over some of those that it adapts; undefined where these are zero.
 */

/** @param adapter a run's @throws RandloraError as `openDeltas`; the signal's reason */
async function sizeOfAdapter(
  gpu: Device,
  adapter: string,
  { folder, weights }: ModelLocation,
  signal: AbortSignal,
): Promise<number | undefined> {
  await using base = await openBase(weights ?? folder);
  const { checkpoint } = base;
  const keep = async () => ({ ...base, [Symbol.asyncDispose]: async () => {} });
  await using deltas = await openDeltas(gpu, adapter, { layers: [], base: keep }, signal);
  const sizes = deltas.chosen.map((index) => deltas.layer(index).out * deltas.layer(index).in);
  const sums = { change: 0, weight: 0 };
  for (const index of deltas.chosen.filter(isSampled(sizes))) {
    signal.throwIfAborted();
    const before = await firstNumbers(checkpoint, deltas.layer(index).source);
    sums.change += squares((await deltas.form(index)).data.subarray(0, before.length));
    sums.weight += squares(before);
  }
  return ratio(sums);
}

/** @param trained the folder of a model that was trained in full @throws RandloraError `file`, `format`; the signal's reason */
export async function sizeOfModel(
  trained: string,
  { folder, weights }: ModelLocation,
  signal: AbortSignal,
): Promise<number | undefined> {
  await using base = await openCheckpoint(weights ?? folder);
  await using model = await openCheckpoint(trained);
  const matrices = [...model.tensors.values()].flatMap(({ info }) => {
    const stored = base.tensors.get(info.name)?.info;
    const isMatrix = info.shape.length === 2 && isFloat(info.dtype) && stored !== undefined && isFloat(stored.dtype);
    return isMatrix && stored.shape.join() === info.shape.join() ? [info] : [];
  });
  const sums = { change: 0, weight: 0 };
  const sizes = matrices.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  for (const { name } of matrices.filter(isSampled(sizes))) {
    signal.throwIfAborted();
    const [now, before] = [await firstNumbers(model, name), await firstNumbers(base, name)];
    sums.weight += squares(before);
    sums.change += squares(now.map((value, index) => value - (before[index] ?? NaN)));
  }
  return ratio(sums);
}

function ratio({ change, weight }: { readonly change: number; readonly weight: number }): number | undefined {
  return weight > 0 ? Math.sqrt(change / weight) : undefined;
}

/** Which of tensors of these sizes are looked at: as many as the sample holds, one at least, evenly over all of them. */
function isSampled(sizes: readonly number[]): (_: unknown, index: number) => boolean {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const stride = Math.min(sizes.length, Math.ceil(total / SAMPLE_ELEMENTS));
  return (_, index) => index % stride === 0;
}

/** Of a matrix, which may be an embedding of gigabytes, as many elements as the sample has. */
async function firstNumbers(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const { info } = checkpoint.get(name);
  if (!isFloat(info.dtype)) throw new TypeError(`${name} is ${info.dtype}`);
  const size = info.shape.reduce((product, length) => product * length, 1);
  const numbers = new Float32Array(Math.min(size, SAMPLE_ELEMENTS));
  const bytes = new Uint8Array((info.bytes / size) * numbers.length);
  await checkpoint.read(name, bytes, 0);
  widenToF32(bytes, info.dtype, numbers);
  return numbers;
}

function squares(numbers: Float32Array): number {
  return numbers.reduce((sum, value) => sum + value * value, 0);
}
