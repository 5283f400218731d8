import { shellWord } from "../../files/failure.ts";
import type { Split } from "../../data/images/datasets/types.ts";
import {
  formatAmount,
  formatBytes,
  formatCount,
  formatDuration,
  formatMeasure,
  formatNumber,
  formatShare,
} from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { wrapWords } from "../../terminal/word-wrap.ts";
import { formatTable } from "../../terminal/table.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { TrainResult } from "../result.ts";
import type { TrainReport } from "./train-report.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson, quantizedText } from "../../terminal/quantized.ts";
import type { Metrics } from "../types.ts";

/** What a run came to, and the most memory that this process had, buffers of a device in the same memory included. */
export type FinetuneResult = TrainResult & { readonly peakRssBytes: number };

/** `finetune --json`. */
export function trainResultJson(result: FinetuneResult, moved?: Moved): TrainReport {
  return {
    run: result.run,
    ending: result.ending,
    steps: result.steps,
    loss: result.loss ?? null,
    valid_loss: result.validLoss ?? null,
    ...(result.unit === "images" ? { valid_accuracy: result.validAccuracy ?? null } : {}),
    best_step: result.bestStep ?? null,
    ...(moved && { valid_loss_before: moved.validBefore ?? null, relative_change: moved.relativeChange ?? null }),
    trainable_parameters: result.trainableParameters,
    tokens: result.tokens,
    ...(result.badImages === undefined ? {} : { bad_images: result.badImages }),
    estimated_gpu_bytes: result.estimatedGpuBytes,
    peak_gpu_bytes: result.peakGpuBytes,
    peak_rss_bytes: result.peakRssBytes,
    ...quantizedJson(result.quantized),
    seconds: result.seconds,
    ...profileJson(result.profile),
  };
}

/** Was nothing left to do for a run that was resumed? */
export function wasOver({ ending, steps, stepsBefore }: TrainResult): boolean {
  return ending !== "interrupted" && stepsBefore > 0 && stepsBefore === steps;
}

const ENDINGS = {
  finished: "",
  "early-stop": " (stopped early: the validation loss no longer fell)",
  interrupted: " (interrupted; saved)",
} as const;

/** What stands around the figures of a run. */
interface Around {
  /** Above them. */
  readonly plot: string;
  readonly figure: string | undefined;
  readonly moved?: Moved | undefined;
  /** Below them: what to try where little was trained, and the next command to type. */
  readonly advice?: string | undefined;
  readonly next: string;
}

/** The same for people. */
export function trainResultText(
  result: FinetuneResult,
  { plot, figure, moved, advice, next }: Around,
  columns: number,
  style: Style,
): string {
  const when = result.ending === "interrupted" ? "when last measured" : "at the end";
  const before = moved?.validBefore === undefined ? "" : ` (${moved.validBefore.toFixed(4)} before)`;
  const isCut = result.validatedStep === 0 && result.steps > 0;
  const lasts = isCut ? ", as no later step was validated yet" : "";
  const isFirst = result.bestStep === 0 ? `, before training: the run stands for that${lasts}` : "";
  const lowest = result.bestStep === undefined ? "" : `; lowest at step ${formatNumber(result.bestStep)}${isFirst}`;
  const best = result.bestStep === undefined ? "" : ` ${when}${before}${lowest}`;
  const since = result.stepsBefore === 0 ? "" : ` from step ${formatNumber(result.stepsBefore)} on`;
  const ending = wasOver(result) ? " (had ended before: nothing was left to do)" : ENDINGS[result.ending];
  const rows = [
    ["written", style.bold(result.run)],
    ["steps", `${formatNumber(result.steps)}${ending}`],
    ...(result.loss === undefined ? [] : [["loss", `${result.loss.toFixed(4)} in the last step`]]),
    ...(result.validLoss === undefined ? [] : [["validation loss", `${result.validLoss.toFixed(4)}${best}`]]),
    ...(result.validAccuracy === undefined
      ? []
      : [["accuracy", `${percent(result.validAccuracy)} of the validation set`]]),
    ...(moved?.relativeChange === undefined
      ? []
      : [["ΔW", `${formatMeasure(moved.relativeChange)} of the adapted weights, by norm`]]),
    [
      "parameters",
      `${formatCount(result.trainableParameters)} trained, on ${formatCount(result.tokens)} ${result.unit === "tokens" ? "supervised tokens" : result.unit}`,
    ],
    ...(result.badImages ? [["left out", `${formatAmount(result.badImages, "figure")} that cannot be read`]] : []),
    ["time", `${formatDuration(result.seconds)}${since}`],
    [
      "device memory",
      `${formatBytes(result.peakGpuBytes)} at most (${formatBytes(result.estimatedGpuBytes)} expected)`,
    ],
    ["process memory", `${formatBytes(result.peakRssBytes)} at most`],
    ...(result.quantized === undefined ? [] : [["frozen layers", quantizedText(result.quantized)]]),
    ...(figure === undefined ? [] : [["plot", figure]]),
  ];
  const above = plot === "" ? "" : `${plot}\n`;
  const table = `${above}${formatTable(rows, { columns, wrap: true })}${profileText(result.profile, columns)}`;
  const tried = advice === undefined ? "" : `\n${wrapWords(advice, columns).join("\n")}\n`;
  return `${table}${tried}\nnext: ${style.bold(next)}\n`;
}

/**
 * What to type next: a run that was interrupted is gone on with, any other is talked to, or asked about images.
 * @param settings what was trained on
 * @param split the part of the images to ask about
 */
export function nextCommand(
  { ending, run, unit }: Pick<TrainResult, "ending" | "run" | "unit">,
  { data, images }: Pick<TrainSettings, "data" | "images">,
  split: Split = "test",
): string {
  const path = shellWord(run);
  if (ending === "interrupted") return `randlora finetune --resume ${path}`;
  if (unit === "tokens") return `randlora chat ${path}`;
  const { dataset, templates } = images ?? {};
  const set = dataset ? ` --dataset ${shellWord(dataset)}` : "";
  const part = split === "test" ? "" : ` --split ${split}`;
  const prompts = templates && templates !== "simple" ? ` --templates ${shellWord(templates)}` : "";
  return `randlora eval images ${path} --data ${shellWord(data)}${set}${part}${prompts}`;
}

function percent(part: number): string {
  return `${(100 * part).toFixed(2)} %`;
}

/**
 * The part of a run's images that shows what came of it: the first one that is there, and was not trained on if there is
 * such a one; undefined of texts.
 */
export async function splitToMeasure({
  data,
  images,
}: Pick<TrainSettings, "data" | "images">): Promise<Split | undefined> {
  if (images === null) return undefined;
  const { hasSplit } = await import("../../data/images/datasets/open.ts");
  for (const split of ["test", "valid", "train"] as const) {
    // The run is safe on the disk: what became of its data meanwhile is not worth failing for.
    if (await hasSplit({ data, split, dataset: images.dataset ?? undefined }).catch(() => false)) return split;
  }
  return undefined;
}

/** ‖ΔW‖ / ‖W‖ below which a model answers much as before. */
const LEAST_CHANGE = 1e-3;
/** A part of the loss: what falls by less has hardly fallen. */
const LEAST_FALL = 0.05;
/** Steps whose training losses, each of other samples, say little: only a fall by so large a part is one. */
const FEW = { steps: 20, fall: 0.2 } as const;

/** What a run moved. */
interface Moved {
  /** The validation loss before the first step; undefined where none was measured. */
  readonly validBefore: number | undefined;
  /** The lowest validation loss; Infinity where none was measured. */
  readonly validLowest: number;
  /** Training loss: means of the first and of the last quarter of the steps; undefined without steps. */
  readonly training: readonly [first: number, last: number] | undefined;
  /** ‖ΔW‖ / ‖W‖ of the last weights, over some of them; undefined where it was not measured. */
  readonly relativeChange: number | undefined;
}

/** What a run's metrics say of it. */
export function movedLosses(metrics: readonly Metrics[]): Omit<Moved, "relativeChange"> {
  const losses = metrics.flatMap((line) => ("loss" in line ? [line.loss] : []));
  const quarter = Math.ceil(losses.length / 4);
  const valid = metrics.flatMap((line) => ("valid_loss" in line ? [line] : []));
  const mean = (some: readonly number[]) => some.reduce((sum, loss) => sum + loss, 0) / some.length;
  return {
    validBefore: valid.find(({ step }) => step === 0)?.valid_loss,
    validLowest: Math.min(...valid.map((line) => line.valid_loss)),
    training: quarter === 0 ? undefined : [mean(losses.slice(0, quarter)), mean(losses.slice(-quarter))],
  };
}

/**
 * What to try next, for a run that moved little, in the wrong direction, or too far.
 * @param rate the run's learning rate
 * @returns one line; undefined where the loss fell, and has not risen again
 */
export function trainingAdvice(
  { validLoss, bestStep, steps }: Pick<TrainResult, "validLoss" | "bestStep" | "steps">,
  { validBefore, validLowest, training, relativeChange }: Moved,
  rate: number,
): string | undefined {
  const isValidated = validBefore !== undefined && validLoss !== undefined;
  const [before, after] = isValidated ? [validBefore, validLoss] : (training ?? [0, 0]);
  const fall = before === 0 ? 0 : (before - after) / before;
  const isFew = !isValidated && steps < FEW.steps;
  const hasRisen = isValidated && bestStep !== undefined && bestStep > 0 && after > validLowest * (1 + LEAST_FALL);
  const overfitted = hasRisen
    ? `overfitted: the validation loss rose from ${validLowest.toFixed(4)} in step ${formatNumber(bestStep)}, ` +
      `which the run stands for, to ${after.toFixed(4)}; try fewer steps, or --early-stop`
    : undefined;
  if (fall >= (isFew ? FEW.fall : LEAST_FALL)) return overfitted;
  const more = `more --steps or --epochs, or a higher --learning-rate (it was ${rate})`;
  if (relativeChange !== undefined && relativeChange < LEAST_CHANGE) {
    return `little was trained: ΔW is ${formatMeasure(relativeChange)} of the adapted weights; try ${more}`;
  }
  if (isFew) return `${formatNumber(steps)} ${steps === 1 ? "step is" : "steps are"} few: try ${more}`;
  const name = isValidated ? "validation loss" : "training loss";
  const change = `${before.toFixed(4)} → ${after.toFixed(4)}`;
  if (fall <= (isValidated ? 0 : -LEAST_FALL)) {
    const best = bestStep === undefined || bestStep === 0 ? "" : `; step ${formatNumber(bestStep)} was the best`;
    return `the ${name} did not fall (${change}${best}); try a lower --learning-rate (it was ${rate}), or other data`;
  }
  // What was lower before: more of the same does not help.
  if (isValidated && bestStep !== steps) return overfitted;
  const how = fall > 0 ? `hardly fell (${change}, ${formatShare(fall)})` : `did not fall (${change})`;
  return `the ${name} ${how}; try ${more}`;
}
