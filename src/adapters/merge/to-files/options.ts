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
import type { GeneratorName } from "../../../compute/random/names.ts";
import type { ProfileJson } from "../../../terminal/profile.ts";
import type { KernelTime } from "../../../compute/device/device.ts";
import type { DeviceOptions } from "../../../compute/open-device.ts";
import type { BasesOrigin } from "../../method/plan.ts";
import type { TensorReport } from "../tensor-stream.ts";

/**
 * `--combine`: how ΔW of several adapters become one, in the words of PEFT's `add_weighted_adapter` (there `sum` is
 * `linear`) and of mergekit.
 */
const COMBINATIONS = ["sum", "ties", "dare-linear", "dare-ties", "magnitude-prune"] as const;
export type Combination = (typeof COMBINATIONS)[number];

/** `dare` is what its authors describe: their random choice before a sum. */
export const COMBINE_CHOICES = ["sum", "ties", "dare", "dare-linear", "dare-ties", "magnitude-prune"] as const;

/** `--majority-sign`: the sign of the sum, or that of most adapters. */
export const MAJORITY_SIGNS = ["total", "frequency"] as const;
export type MajoritySign = (typeof MAJORITY_SIGNS)[number];

/** How elements that are left of each ΔW were chosen: the largest, or some at random. */
export function isRandom(combination: Combination): boolean {
  return combination === "dare-linear" || combination === "dare-ties";
}

/** Does it leave out adapters that disagree with the majority on the sign of an element? */
export function electsSign(combination: Combination): boolean {
  return combination === "ties" || combination === "dare-ties";
}

/** `--outtype`: what the matrices of a GGUF file are stored as; vectors are always F32. */
export const OUTTYPES = ["keep", "f32", "f16", "bf16", "q8_0", "q4_0"] as const;
export type Outtype = (typeof OUTTYPES)[number];

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
    help: "combination of several ΔW, as PEFT's add_weighted_adapter; --scale are weights; dare is dare-linear",
    default: "sum",
  }),
  density: repeat(
    number({
      value: "D",
      above: 0,
      max: 1,
      topic: "Adapters",
      help: "part of each ΔW that ties, dare and magnitude-prune keep, for all or each adapter",
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
    help: "round the sum once, or after each adapter as PEFT does",
    default: "once",
  }),
  reduceIntruders: number({
    value: "λ",
    min: 0,
    max: 1,
    topic: "Adapters",
    help: "part kept of intruder dimensions (PEFT: 0.75)",
  }),
  generator: generatorOption("Adapters"),
  unmerge: flag({
    topic: "Adapters",
    help: "subtract the adapters (not bit-exact below f32)",
  }),
  verify: flag({
    topic: "Checks",
    help: "check a sample of weights in double precision before publishing",
  }),
  dryRun: flag({ topic: "Checks", help: "show what would be done, without writing" }),
};

/** What `merge` is given. */
export type MergeFlags = OptionValues<typeof MERGE_OPTIONS>;

/**
 * What `merge --json` prints. A dry run has measured nothing: null stands where a merge has figures.
 * @json merge
 */
export interface MergeReport extends ProfileJson {
  /** True with --dry-run. */
  readonly dry_run?: boolean;
  readonly out: string;
  readonly tensors: number;
  /** Tensors that adapters changed. */
  readonly merged: number;
  readonly combine: Combination;
  readonly bytes: number;
  /** What draws the bases; a list for several adapters. */
  readonly generator: GeneratorName | null | readonly (GeneratorName | null)[];
  /** By stage, and total. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly peak_rss_bytes: number;
  readonly peak_gpu_bytes: number;
  /** As the next two null with --dry-run. */
  readonly max_abs_delta: number | null;
  readonly frobenius_delta: number | null;
  /** Share of merged elements. */
  readonly changed_share: number | null;
  /** With --verify. */
  readonly max_error_ulp?: number;
  /** Dimensions that --reduce-intruders reduced. */
  readonly intruders?: number;
  /** Norm of the rounding to quantized GGUF blocks. */
  readonly blocks_error?: number;
}

/** How several adapters become one ΔW. */
export interface CombineWish {
  readonly how: Combination;
  /** Parts of each ΔW to keep, one for all or one an adapter; not of a sum. */
  readonly densities: readonly number[];
  /** Where signs are elected; `total` by default. */
  readonly majoritySign?: MajoritySign | undefined;
  /** Where elements are kept at random; 0 by default. */
  readonly seed?: number | undefined;
}

/** What a merge depends on. What is not asked for may be left out. */
export interface MergeOptions
  extends
    Pick<MergeFlags, "dtype" | "rounding" | "maxShardSize" | "unmerge" | "verify" | "force" | "dryRun">,
    Partial<Pick<MergeFlags, "reduceIntruders" | "generator" | "outtype" | "pre">> {
  /** A model folder, an index.json, or one .safetensors file. */
  readonly base: string;
  readonly adapters: readonly string[];
  readonly out: string;
  /** One for all, or one an adapter; multiplies α/r. */
  readonly scales: readonly number[];
  /** How several ΔW become one; their sum by default. */
  readonly combine?: CombineWish | undefined;
  readonly device?: DeviceOptions | undefined;
}

export interface MergeSummary {
  readonly out: string;
  readonly gpu: string | undefined;
  readonly tensors: number;
  readonly merged: number;
  readonly combine: Combination;
  readonly bytes: number;
  /** Where each adapter's random matrices come from, in order. */
  readonly bases: readonly BasesOrigin[];
  readonly reports: readonly TensorReport[];
  readonly maxErrorUlp: number | undefined;
  /** Of each weight how many intruder dimensions were reduced; undefined where none were to be. */
  readonly intruders: readonly number[] | undefined;
  /** What rounding to a GGUF file's blocks took off merged weights, a Frobenius norm. */
  readonly blocksError: number | undefined;
  readonly seconds: Readonly<Record<string, number>>;
  readonly peakGpuBytes: number;
  readonly profile: readonly KernelTime[];
}

/** What a merge that computes nothing has to tell. */
export const NOTHING_DONE = {
  gpu: undefined,
  reports: [],
  maxErrorUlp: undefined,
  blocksError: undefined,
  peakGpuBytes: 0,
  profile: [],
};
