import { shellWord } from "../../files/failure.ts";
import type { Split } from "../../data/images/datasets/types.ts";
import {
  formatAmount,
  formatBytes,
  formatCount,
  formatDuration,
  formatMeasure,
  formatNumber,
} from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { wrapWords } from "../../terminal/word-wrap.ts";
import { formatTable } from "../../terminal/table.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { TrainResult } from "../result.ts";
import type { Moved } from "./loss-change.ts";
import type { TrainReport } from "./train-report.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson, quantizedText } from "../../terminal/quantized.ts";

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
