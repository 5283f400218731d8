import { count, integer, list, repeat, text } from "../../terminal/options/command.ts";
import type { Option, ValueOf } from "../../terminal/options/option.ts";
import { jobOptions } from "../../terminal/options/shared/job.ts";
import { IMAGE_OPTIONS } from "../../train/settings/image-options.ts";
import { ADAPTER_OPTIONS } from "../../train/settings/adapter-options.ts";
import { FINETUNE_OPTIONS, RUN_OPTIONS } from "../../train/settings/options.ts";
import { partOf } from "../../train/settings/setting.ts";
import type { Spread } from "./statistics.ts";

/** The most tokens that forgetting is measured on. */
export const MOST_DRAWN = 2 ** 20;

/** Runs of a method: each is planned before the first. */
export const MOST_SEEDS = 1000;

/** The options of `randlora compare`. */
export const COMPARE_OPTIONS = {
  methods: list(
    text({
      value: "METHOD[+FLAG…],…",
      topic: "Comparison",
      help: "methods to compare; FLAG: a method's option of finetune by name (sparse), value (paper), or both (alpha=8)",
      defaultText: "all but pranc, the slowest",
    }),
  ),
  params: list(
    count({
      value: "N,…",
      topic: "Comparison",
      help: "parameter budgets: trainable parameters of each method, such as 1M,2M,4M",
      defaultText: "about the first method's at its usual rank",
    }),
  ),
  like: text({
    value: "METHOD[:RANK]",
    topic: "Comparison",
    help: "parameter budget: as many as this method trains at this rank",
  }),
  seeds: integer({
    topic: "Comparison",
    help: "runs of each method, each with its own seed",
    min: 1,
    max: MOST_SEEDS,
    defaultText: "3",
  }),
  learningRate: repeat(
    text({
      value: "[METHOD=]LR,…",
      topic: "Comparison",
      help: "peak learning rate of all methods, or of one; each of several is a contender",
      defaultText: "each method's usual one",
    }),
  ),
  alpha: repeat(
    text({
      value: "[METHOD=]A,…",
      topic: "Comparison",
      help: "the same of α",
      defaultText: "each method's usual one",
    }),
  ),
  forgetting: integer({
    value: "TOKENS",
    topic: "Comparison",
    help: "tokens that the base draws, to measure forgetting on after each run; 0: none",
    min: 0,
    max: MOST_DRAWN,
    defaultText: "4096",
  }),
  out: text({ short: "o", value: "DIR", topic: "Comparison", help: "folder of the comparison" }),
  resume: {
    ...FINETUNE_OPTIONS.resume,
    value: "DIR",
    topic: "Comparison",
    help: "resume DIR, else --out, perhaps with more --seeds or fewer --methods",
  },
  dryRun: FINETUNE_OPTIONS.dryRun,
  ...jobOptions("Comparison"),
  ...partOf(RUN_OPTIONS, { compare: "all" }),
  noShuffle: FINETUNE_OPTIONS.noShuffle,
  ...partOf(ADAPTER_OPTIONS, { compare: "all" }),
  ...IMAGE_OPTIONS,
} as const;

/** What was given on the command line, in the environment or in a file. */
export type CompareOptions = { readonly [K in keyof typeof COMPARE_OPTIONS]: ValueOf<(typeof COMPARE_OPTIONS)[K]> };

/** The flags that may follow a method's name. */
export const METHOD_FLAGS: Readonly<Record<string, Option<unknown>>> = {
  ...partOf(ADAPTER_OPTIONS, { compare: "method" }),
  ...partOf(RUN_OPTIONS, { compare: "method" }),
};

/**
 * `compare --json`.
 * @json compare
 */
export interface CompareJson {
  readonly out: string;
  readonly ending: "finished" | "interrupted";
  readonly budgets: readonly number[];
  readonly seeds: number;
  readonly results: readonly RunResult[];
  readonly methods: readonly MethodJson[];
  readonly contests: readonly Contest[];
  /** Of a single budget. */
  readonly winner: string | null;
}

interface MethodJson extends MethodSummary {
  readonly rank?: number;
  readonly bases?: number;
  readonly learning_rate: number | null;
}

/** What methods are judged by: the validation loss of best/, or the mean loss of the last steps where there is none. */
export type Measure = "best_valid_loss" | "loss";

/** A method over its seeds. */
export interface MethodSummary {
  readonly method: string;
  readonly budget: number | null;
  /** Trainable parameters. */
  readonly parameters: number | null;
  /** (parameters − budget) / budget. */
  readonly distance: number | null;
  readonly runs: number;
  /** Runs that failed. */
  readonly failed: number;
  /** As the next six: mean and (sample standard) deviation over the seeds. */
  readonly loss: Spread | null;
  readonly valid_loss_before: Spread | null;
  readonly valid_loss: Spread | null;
  readonly best_valid_loss: Spread | null;
  readonly accuracy: Spread | null;
  readonly forgetting: Spread | null;
  readonly seconds: Spread | null;
  /** Mean of the standard errors. */
  readonly forgetting_error: number | null;
  readonly peak_bytes: number | null;
}

/** Who is best at one budget. */
export interface Contest {
  readonly budget: number;
  readonly judged_by: Measure;
  /** If significantly better. */
  readonly winner: string | null;
  /** Why there is none, or by how much. */
  readonly reason: string;
  /** Methods that took part, best first. */
  readonly among: readonly string[];
  /** Far from the budget, or failed. */
  readonly left_out: readonly string[];
}

/** What a run came to: a line of `results`. */
export interface RunResult {
  readonly method: string;
  readonly budget: number | null;
  readonly seed: number;
  /** Trainable parameters without those of a head. */
  readonly parameters: number | null;
  readonly steps: number;
  /** Mean over the last quarter of the steps. */
  readonly loss: number | null;
  /** Untrained. */
  readonly valid_loss_before?: number | null | undefined;
  /** Of the last validation. */
  readonly valid_loss: number | null;
  /** Of best/. */
  readonly best_valid_loss: number | null;
  /** Of images, from 0 to 1. */
  readonly accuracy: number | null;
  /** As of `eval forgetting`. */
  readonly forgetting?: number | null | undefined;
  /** Standard error. */
  readonly forgetting_error?: number | null | undefined;
  /** Of training steps. */
  readonly seconds: number;
  /** Peak device memory, estimated. */
  readonly peak_bytes: number | null;
  /** Why the run failed. */
  readonly error: string | null;
}
