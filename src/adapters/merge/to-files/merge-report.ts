import type { GeneratorName } from "../../../compute/random/names.ts";
import type { Combination } from "../combine/names.ts";

/** What `merge --json` prints. A dry run has measured nothing: null stands where a merge has figures. */
export interface MergeReport {
  readonly dry_run?: boolean;
  readonly out: string;
  /** Tensors that were written, and those of them to which ΔW was added. */
  readonly tensors: number;
  readonly merged: number;
  readonly combine: Combination;
  readonly bytes: number;
  /** What draws an adapter's bases, null where nothing does; with several adapters a list. */
  readonly generator: GeneratorName | null | readonly (GeneratorName | null)[];
  /** By stage, and `total`. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly peak_rss_bytes: number;
  readonly peak_gpu_bytes: number;
  readonly max_abs_delta: number | null;
  readonly frobenius_delta: number | null;
  /** The part of the merged weights' elements that changed, after rounding. */
  readonly changed_share: number | null;
  /** With `verify`: of a sample in f64, in units in the last place. */
  readonly max_error_ulp?: number;
  /** Of a part: `i/n`, shards that it wrote, and shards that others have still to write; figures are of the whole once none is left. */
  readonly part?: string;
  readonly shards_written?: number;
  readonly shards_left?: number;
  /** The Frobenius norm of what rounding to a GGUF file's blocks took off. */
  readonly blocks_error?: number;
}
