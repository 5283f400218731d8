import { count, integer, list, repeat, text } from "../../terminal/options/command.ts";
import type { Option, ValueOf } from "../../terminal/options/option.ts";
import { jobOptions } from "../../terminal/options/shared/job.ts";
import { IMAGE_OPTIONS } from "../../train/settings/image-options.ts";
import { ADAPTER_OPTIONS } from "../../train/settings/adapter-options.ts";
import { FINETUNE_OPTIONS, RUN_OPTIONS } from "../../train/settings/options.ts";
import { partOf } from "../../train/settings/setting.ts";

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
    max: 2 ** 20,
    defaultText: "4096",
  }),
  out: text({ short: "o", value: "DIR", topic: "Comparison", help: "folder of the comparison to write" }),
  resume: {
    ...FINETUNE_OPTIONS.resume,
    value: "DIR",
    topic: "Comparison",
    help: "resume a comparison, perhaps with more --seeds or fewer --methods",
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
