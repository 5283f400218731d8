import type { GeneratorName } from "../../../compute/random/names.ts";
import type { ProfileJson } from "../../../terminal/profile.ts";
import type { Combination } from "../combine/names.ts";
import type { KernelTime } from "../../../compute/device/device.ts";
import type { DeviceOptions } from "../../../compute/open-device.ts";
import type { OutputDtype } from "../../../files/safetensors/dtype.ts";
import type { BasesOrigin } from "../../method/plan.ts";
import type { Outtype } from "../outtypes.ts";
import type { Rounding } from "../merge-tensor.ts";
import type { CombineWish } from "../combine/plans.ts";
import type { TensorReport } from "../tensor-stream.ts";

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
  /** Share of merged elements that changed. */
  readonly changed_share: number | null;
  /** With --verify. */
  readonly max_error_ulp?: number;
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
