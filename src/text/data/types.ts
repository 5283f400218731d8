/** The four kinds of samples, named after their fields. */
export type SampleKind = "text" | "completion" | "chat" | "instruction";

/** One sample as token ids: views into its data set's arrays, not copies. */
export interface Sample {
  readonly ids: Uint32Array;
  /** 1 where the token is a target of the loss, else 0; never the first token, which nothing predicts. */
  readonly supervised: Uint8Array;
  /** Where it stands in its file: the line (JSON, from 1) or the row (parquet, from 1). */
  readonly line: number;
}

/** What was read, and what became of it. */
export interface DataTotals {
  /** Samples kept. */
  readonly samples: number;
  /** Tokens of the samples kept, after cutting. */
  readonly tokens: number;
  /** How many of them are targets of the loss. */
  readonly supervisedTokens: number;
  /** Samples longer than the maximum, cut on the right; among those kept and those dropped. */
  readonly cut: number;
  /** Samples left out because no token of theirs is supervised. */
  readonly dropped: number;
  /** Tokens of the longest sample kept. */
  readonly longest: number;
}

/** Tokenised samples in file order. */
export interface DataSet {
  /** The file, for messages. */
  readonly path: string;
  readonly totals: DataTotals;
  /** Number of samples kept. */
  readonly length: number;
  /** Number of tokens of sample i. */
  lengthOf(i: number): number;
  /** Number of supervised tokens of sample i. */
  supervisedOf(i: number): number;
  /** @throws {RangeError} when i is not one of 0 … length − 1 */
  sample(i: number): Sample;
}

/**
 * N tokens that go through the model at once: whole samples one after another, without padding. All arrays are of the
 * micro-batch's own (not views), so that they can be uploaded as they are.
 */
export interface MicroBatch {
  /** (N) token ids. */
  readonly ids: Uint32Array;
  /** (N) position of the token in its sample, from 0. */
  readonly positions: Uint32Array;
  /** (N) index in this micro-batch of the first token of the token's sample. */
  readonly starts: Uint32Array;
  /** (S) tokens whose hidden state predicts a supervised next token of the same sample; ascending, at least one. */
  readonly rows: Uint32Array;
  /** (S) the token that each of `rows` must predict: `ids[rows[i] + 1]`. */
  readonly targets: Uint32Array;
  /** Number of samples. */
  readonly samples: number;
}

/** What one optimiser step learns from. Its loss is the mean over all `targets` of all its micro-batches. */
export interface Step {
  /** From 0. */
  readonly index: number;
  /** From 0. */
  readonly epoch: number;
  readonly microBatches: readonly MicroBatch[];
  /** Supervised tokens of all micro-batches: what the sum of the losses is divided by. */
  readonly targets: number;
  /** Tokens of all micro-batches. */
  readonly tokens: number;
}

/** How samples become steps. All that decides the order of the data: the same values give the same steps. */
export interface StepOptions {
  /** Rows of a micro-batch; a row is a sample, or with `packing` as many as fit. */
  readonly batchSize: number;
  /** Micro-batches of a step. */
  readonly accumulation: number;
  /** The length of the run: this many steps, through as many epochs as it takes, or this many epochs. */
  readonly length: { readonly steps: number } | { readonly epochs: number };
  /** A new order every epoch, drawn from `seed`; otherwise file order. */
  readonly shuffle: boolean;
  readonly seed: bigint;
  /** Join samples into rows of at most this many tokens; undefined: every sample is a row. */
  readonly packing?: number | undefined;
}

/** The largest micro-batch of a run: what memory must suffice for. */
export interface LargestMicroBatch {
  /** Most tokens of any micro-batch. */
  readonly tokens: number;
  /** Most supervised tokens of any micro-batch, perhaps of another one. */
  readonly targets: number;
}

/** A run's steps, each at hand by its number: resuming needs nothing but the number of the next. */
export interface StepPlan {
  /** Number of steps of the run. */
  readonly length: number;
  readonly stepsPerEpoch: number;
  /** Over the whole run. */
  readonly largest: LargestMicroBatch;
  /** @throws {RangeError} when index is not one of 0 … length − 1 */
  step(index: number): Step;
}
