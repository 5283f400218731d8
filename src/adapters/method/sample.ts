/** Rows and columns of ΔW, for a look at some of its elements. */
export interface DeltaSample {
  readonly rows: readonly number[];
  readonly cols: readonly number[];
}
