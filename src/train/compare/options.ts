import { count, integer, list, repeat, text } from "../../terminal/options/command.ts";
import type { Option, ValueOf } from "../../terminal/options/option.ts";
import { RUN_OPTIONS } from "../command/options.ts";
import { IMAGE_OPTIONS } from "../command/image-options.ts";

const {
  method: _method,
  out: _out,
  resume,
  dryRun: _dryRun,
  initAdapter: _initAdapter,
  learningRate: _learningRate,
  ...ofRuns
} = RUN_OPTIONS;
/** Options of `randlora finetune` that all runs of a comparison share; those for images are shared as well. */
const OF_ALL = pick(ofRuns, [
  ...(["data", "valid", "validSplit", "maxLength", "packing", "noShuffle", "trainOnPrompt", "prompt"] as const),
  ...(["dropout", "targets", "layers", "dtype"] as const),
  ...(["steps", "epochs", "batchSize", "gradAccum", "schedule", "warmup", "weightDecay", "betas", "eps"] as const),
  ...(["gradClip", "seed", "checkpointActivations", "evalEvery", "saveEvery", "keep", "earlyStop"] as const),
]);

function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  // Each of the keys, and no other.
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<T, K>;
}

/** The options of `randlora compare`. */
export const COMPARE_OPTIONS = {
  methods: list(
    text({
      value: "METHOD[+FLAG…],…",
      topic: "Comparison",
      help: "what is compared; a FLAG is one of finetune's for methods (sparse), or a value of one (paper), or both (alpha=8)",
      defaultText: "every method but pranc, which takes longer than all others together",
    }),
  ),
  params: list(
    count({
      value: "N,…",
      topic: "Comparison",
      help: "trainable parameters of each method, as nearly as possible: 500K, 1M,2M,4M",
      defaultText: "what the first method trains at its usual size",
    }),
  ),
  like: text({ value: "METHOD[:RANK]", topic: "Comparison", help: "or as many as this method at this rank" }),
  seeds: integer({
    topic: "Comparison",
    help: "runs of each method, each with another seed",
    min: 1,
    defaultText: "3",
  }),
  learningRate: repeat(
    text({
      value: "[METHOD=]LR",
      topic: "Comparison",
      help: "peak learning rate, of all or of one method",
      defaultText: "each method's usual one",
    }),
  ),
  out: text({ short: "o", value: "DIR", topic: "Comparison", help: "the comparison's folder" }),
  resume: { ...resume, value: "DIR", topic: "Comparison", help: "go on with a comparison that was stopped" },
  ...OF_ALL,
  ...IMAGE_OPTIONS,
} as const;

/** What was given on the command line, in the environment or in a file. */
export type CompareOptions = { readonly [K in keyof typeof COMPARE_OPTIONS]: ValueOf<(typeof COMPARE_OPTIONS)[K]> };

/** The other options of a run: the flags that may follow a method's name. */
export const METHOD_FLAGS: Readonly<Record<string, Option<unknown>>> = Object.fromEntries(
  Object.entries(ofRuns).filter(([key]) => !(key in OF_ALL)),
);
