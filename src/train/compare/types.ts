import type { FlatSettings, TrainSettings } from "../settings/settings.ts";

/** A method with flags, as it was listed. */
export interface Wish {
  /** `METHOD+FLAG`, as it was written. */
  readonly label: string;
  readonly method: string;
  /** What its flags say. */
  readonly flags: Partial<FlatSettings>;
  /** `--learning-rate`, if it has one for this method. */
  readonly learningRate: number | undefined;
}

/** A method at one budget: all that its runs have in common. */
export interface Contender {
  readonly label: string;
  /** Numbers that it was to train; null for the reference, which trains all. */
  readonly budget: number | null;
  /** Those of its run with the first seed. */
  readonly settings: TrainSettings;
}

/** What is compared: everything that decides about the results. */
export interface Comparison {
  /** Wanted numbers of trained parameters. */
  readonly budgets: readonly number[];
  /** `METHOD:SIZE` where that decided about them. */
  readonly like: string | null;
  readonly contenders: readonly Contender[];
  /** The first one. */
  readonly seed: number;
  /** How many. */
  readonly seeds: number;
}

/** One method with one seed. */
export interface PlannedRun {
  /** Of its folder. */
  readonly name: string;
  readonly contender: Contender;
  readonly settings: TrainSettings;
}

/** What a run came to: a line of `results`. */
export interface RunResult {
  readonly method: string;
  readonly budget: number | null;
  readonly seed: number;
  /** Trainable parameters without those of a head, which all methods train alike. */
  readonly parameters: number | null;
  readonly steps: number;
  /** Mean over the last quarter of the steps; null if the run failed. */
  readonly loss: number | null;
  /** Last validation loss; null without validation data. */
  readonly valid_loss: number | null;
  /** Lowest validation loss, that of best/. */
  readonly best_valid_loss: number | null;
  /** Last validation accuracy, from 0 to 1; null for language models. */
  readonly accuracy: number | null;
  /** Of training steps, without loading, evaluations and saves. */
  readonly seconds: number;
  /** Peak device memory, as estimated beforehand. */
  readonly peak_bytes: number | null;
  /** What diverged, or null. */
  readonly error: string | null;
}

/** Is this method the reference, which no budget binds? */
export function isReference({ budget }: Pick<RunResult, "budget">): boolean {
  return budget === null;
}
