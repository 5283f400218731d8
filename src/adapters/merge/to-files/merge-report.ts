import type { GeneratorName } from "../../../compute/random/names.ts";
import type { ProfileJson } from "../../../terminal/profile.ts";
import type { Combination } from "../combine/names.ts";

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
