import type { Perplexity } from "../eval/perplexity.ts";
import type { FlatSettings, TrainSettings } from "../../train/settings/settings.ts";
import type { RunResult } from "./options.ts";

/** What a contender is called: a method with its flags, and its values of what is swept. */
export interface Label {
  /** `lora+rslora` of `lora+rslora@3e-4@alpha=8`. */
  readonly family: string;
  readonly rates: readonly string[];
  readonly alphas: readonly string[];
}

const ALPHA = "alpha=";

export function parseLabel(label: string): Label {
  const [family = "", ...swept] = label.split("@");
  const { rates = [], alphas = [] } = Object.groupBy(swept, (one) => (one.startsWith(ALPHA) ? "alphas" : "rates"));
  return { family, rates, alphas: alphas.map((one) => one.slice(ALPHA.length)) };
}

export function formatLabel({ family, rates, alphas }: Label): string {
  return [family, ...rates, ...alphas.map((alpha) => `${ALPHA}${alpha}`)].join("@");
}

/** The method of a contender, whatever value of a sweep it has. */
export function familyOf(label: string): string {
  return parseLabel(label).family;
}

/** A method with flags, as it was listed. */
export interface Wish {
  /** `METHOD+FLAG`, as it was written, and `@VALUE` of a sweep. */
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
  /** How many there were each time that all runs were done and more were asked for: each look spends chance. */
  readonly looks: readonly number[];
  /** Tokens that the base draws, on which all runs are measured; 0: none are. */
  readonly forgetting: number;
  /** Methods that were left out when it was resumed: they count among those that could have been best. */
  readonly dropped: readonly string[];
}

/** One method with one seed. */
export interface PlannedRun {
  /** Of its folder. */
  readonly name: string;
  readonly contender: Contender;
  readonly settings: TrainSettings;
}

/** Texts that the base of a comparison drew, and its losses on them. */
export interface DrawnByBase {
  readonly texts: readonly (readonly number[])[];
  readonly base: Pick<Perplexity, "nll" | "sums">;
}

/** A run that failed though its losses did not diverge. */
export interface FailedRun {
  readonly result: RunResult;
  readonly thrown: unknown;
}

/** Is this method the reference, which no budget binds? */
export function isReference({ budget }: Pick<RunResult, "budget">): boolean {
  return budget === null;
}
