/** The samples of a set as batches are made of them, whatever a sample is: a text, an image. */
export interface Samples<Batch> {
  readonly length: number;
  /** What sample i takes of a batch: its tokens; 1 for an image. */
  lengthOf(i: number): number;
  /** How many terms of the loss sample i has. */
  targetsOf(i: number): number;
  /** What goes through the model at once. @param indices which samples, in this order */
  batchOf(indices: readonly number[]): Batch;
}

/** A part of a step's rows. Its gradients are summed by themselves, wherever that is done, and then added to the others'. */
export interface Shard<Batch> {
  /** How many micro-batches of the step come before its first. */
  readonly first: number;
  /** In order. Those that have to be loaded come one at a time, and are loaded anew each time they are gone through. */
  readonly microBatches: Iterable<Batch> | AsyncIterable<Batch>;
}

/** What one optimizer step is trained on. Its loss is the mean over all `targets` of all its micro-batches. */
export interface Step<Batch> {
  /** From 0. */
  readonly index: number;
  /** From 0. */
  readonly epoch: number;
  /** In order: those that this process computes. */
  readonly shards: readonly Shard<Batch>[];
  /** Terms of the loss of all micro-batches, of all processes: what the sum of the losses is divided by. */
  readonly targets: number;
  /** The lengths of all samples. */
  readonly tokens: number;
}

/** One of `size` equal parts, from 0. */
export interface Share {
  readonly rank: number;
  readonly size: number;
}

/** How samples become steps. All that decides the order of the data: the same values give the same steps. */
export interface StepOptions {
  /** Rows of a micro-batch; a row is a sample, or with `packing` as many as fit. */
  readonly batchSize: number;
  /** Micro-batches of a step. */
  readonly accumulation: number;
  /** Shards that the rows of a step are cut into, as equally as they can be; 1 by default. */
  readonly shards?: number | undefined;
  /** Which of the shards are this process's: the `rank`-th of `size` equal parts; all by default. */
  readonly share?: Share | undefined;
  /** The length of the run: this many steps, through as many epochs as it takes, or this many epochs. */
  readonly length: { readonly steps: number } | { readonly epochs: number };
  /** A new order every epoch, drawn from `seed`; otherwise file order. */
  readonly shuffle: boolean;
  readonly seed: bigint;
  /** Join samples into rows of at most this length; undefined: every sample is a row. */
  readonly packing?: number | undefined;
}

/** The largest micro-batch of a run: what memory must suffice for. */
export interface LargestMicroBatch {
  /** Most tokens of any micro-batch. */
  readonly tokens: number;
  /** Most terms of the loss of any micro-batch, perhaps of another one. */
  readonly targets: number;
}

/** A run's steps, each at hand by its number: resuming needs nothing but the number of the next. */
export interface StepPlan<Batch> {
  /** Number of steps of the run. */
  readonly length: number;
  readonly stepsPerEpoch: number;
  /** Over the whole run. */
  readonly largest: LargestMicroBatch;
  /**
   * A promise where batches have to be loaded: the first of them are then begun.
   * @throws {RangeError} when index is not one of 0 … length − 1
   */
  step(index: number): Step<Batch> | Promise<Step<Batch>>;
}

/** A step whose micro-batches are all at hand. */
export interface ReadyStep<Batch> extends Step<Batch> {
  readonly shards: readonly { readonly first: number; readonly microBatches: readonly Batch[] }[];
}

/** Steps whose batches are made at once. */
export interface ReadyPlan<Batch> extends StepPlan<Batch> {
  step(index: number): ReadyStep<Batch>;
}
