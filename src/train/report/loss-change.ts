import { formatMeasure, formatNumber, formatShare } from "../../terminal/format.ts";
import type { TrainResult } from "../result.ts";
import type { Metrics } from "../types.ts";

/** ‖ΔW‖ / ‖W‖ below which a model answers much as before. */
const LEAST_CHANGE = 1e-3;
/** A part of the loss: what falls by less has hardly fallen. */
const LEAST_FALL = 0.05;
/** Steps whose training losses, each of other samples, say little: only a fall by so large a part is one. */
const FEW = { steps: 20, fall: 0.2 } as const;

/** What a run moved. */
export interface Moved {
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
