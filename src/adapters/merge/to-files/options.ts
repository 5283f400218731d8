import {
  bytes,
  choice,
  flag,
  integer,
  number,
  type OptionValues,
  repeat,
  text,
} from "../../../terminal/options/command.ts";
import { generatorOption } from "../../../terminal/options/shared/model.ts";
import { COMBINE_CHOICES, MAJORITY_SIGNS } from "../combine/names.ts";
import { OUTTYPES } from "../outtypes.ts";

/** The options of `randlora merge`. */
export const MERGE_OPTIONS = {
  out: text({
    value: "PATH",
    short: "o",
    topic: "Output",
    help: "output folder or file; NAME.gguf writes GGUF for llama.cpp and Ollama",
    defaultText: "./NAME-merged",
  }),
  dtype: choice(["keep", "f32", "f16", "bf16"], {
    topic: "Output",
    help: "number format of the floating-point tensors",
    default: "keep",
  }),
  outtype: choice(OUTTYPES, {
    topic: "Output",
    help: "GGUF (--out FILE.gguf): storage type of the matrices",
    defaultText: "--dtype",
  }),
  pre: text({
    value: "NAME",
    topic: "Output",
    help: "llama.cpp's name of the pre-tokenizer, if it is not found (GGUF)",
  }),
  maxShardSize: bytes({
    topic: "Output",
    help: "maximum size of a shard (weight file)",
    default: 5e9,
    defaultText: "5GB",
  }),
  force: flag({ topic: "Output", help: "replace an existing output" }),
  scale: repeat(
    number({
      value: "S",
      topic: "Adapters",
      help: "adapter scale: multiplies α/r, for all or for each adapter",
    }),
  ),
  combine: choice(COMBINE_CHOICES, {
    topic: "Adapters",
    help: "combination of several ΔW, by the formulas of PEFT's add_weighted_adapter; --scale are the weights; dare is dare-linear",
    default: "sum",
  }),
  density: repeat(
    number({
      value: "D",
      above: 0,
      max: 1,
      topic: "Adapters",
      help: "part of each ΔW that ties, dare and magnitude-prune keep, for all or for each adapter",
    }),
  ),
  majoritySign: choice(MAJORITY_SIGNS, {
    topic: "Adapters",
    help: "sign that ties elects: of the sum, or of most adapters",
    defaultText: "total",
  }),
  seed: integer({
    value: "N",
    min: 0,
    topic: "Adapters",
    help: "random seed of what dare drops",
    defaultText: "0",
  }),
  rounding: choice(["once", "peft"], {
    topic: "Adapters",
    help: "rounding of the sum once, or after each adapter as PEFT's merge does",
    default: "once",
  }),
  generator: generatorOption("Adapters"),
  unmerge: flag({
    topic: "Adapters",
    help: "subtract the adapters instead of adding them (not bit-exact below f32)",
  }),
  verify: flag({
    topic: "Checks",
    help: "check a sample of the weights in double precision before publishing",
  }),
  dryRun: flag({ topic: "Checks", help: "show what would be done, without writing" }),
};

/** What `merge` is given. */
export type MergeFlags = OptionValues<typeof MERGE_OPTIONS>;
