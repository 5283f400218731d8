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
import { COMBINE_CHOICES, MAJORITY_SIGNS, OUTTYPES, type Combination, type Outtype } from "../choices.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import type { ProfileJson } from "../../../terminal/profile.ts";
import type { KernelTime } from "../../../compute/device/device.ts";
import type { DeviceOptions } from "../../../compute/open-device.ts";
import type { OutputDtype } from "../../../files/safetensors/dtype.ts";
import type { BasesOrigin } from "../../method/plan.ts";
import type { Rounding } from "../merge-tensor.ts";
import type { CombineWish } from "../combine/plans.ts";
import type { TensorReport } from "../tensor-stream.ts";

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

export interface MergeOptions {
  /** A model folder, an index.json, or one .safetensors file. */
  readonly base: string;
  readonly adapters: readonly string[];
  readonly out: string;
  readonly dtype: OutputDtype;
  /** One for all, or one an adapter; multiplies α/r. */
  readonly scales: readonly number[];
  readonly rounding: Rounding;
  /** How several ΔW become one; their sum by default. */
  readonly combine?: CombineWish | undefined;
  /** What is kept of intruder dimensions; all by default. */
  readonly reduceIntruders?: number | undefined;
  readonly generator?: GeneratorName | undefined;
  /** Of a GGUF file, which `out` asks for: what matrices are stored as; `dtype` by default. */
  readonly outtype?: Outtype | undefined;
  /** Of a GGUF file: llama.cpp's name of the pre-tokenizer, where nothing says it. */
  readonly pre?: string | undefined;
  /** Bytes of tensors in one file of the output; a lone file is never split. */
  readonly maxShardSize: number;
  readonly unmerge: boolean;
  readonly verify: boolean;
  readonly force: boolean;
  /** Everything but the work: what would be read, merged and written. */
  readonly dryRun: boolean;
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
