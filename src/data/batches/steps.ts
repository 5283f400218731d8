import { shuffled } from "./shuffle.ts";
import type { LargestMicroBatch, ReadyPlan, ReadyStep, Samples, Share, StepOptions } from "./types.ts";

/**
 * Plans the steps of a run. Every epoch takes all rows once, `batchSize` a micro-batch, `accumulation` micro-batches a
 * step; the last, incomplete step of an epoch is kept. The order of an epoch depends on `seed` and its number alone. With
 * several shards each has its part of a step's rows, in micro-batches of at most `batchSize`.
 *
 * @throws {RangeError} for an empty data set, for sizes that are not positive whole numbers, and for shards that cannot be shared
 */
export function planSteps<Batch>(samples: Samples<Batch>, options: StepOptions): ReadyPlan<Batch> {
  const { batchSize, accumulation, length, shards = 1, share = ALL } = options;
  const asked = "steps" in length ? length.steps : length.epochs;
  for (const size of [samples.length, batchSize, accumulation, asked, shards, shards / share.size]) {
    if (!Number.isSafeInteger(size) || size < 1) throw new RangeError(`${size} is no positive whole number`);
  }
  const rows = rowsOf(samples, options);
  const stepsPerEpoch = Math.ceil(rows.length / (batchSize * accumulation));
  const steps = "steps" in length ? length.steps : length.epochs * stepsPerEpoch;
  return new Plan(samples, rows, options, stepsPerEpoch, steps);
}

const ALL: Share = { rank: 0, size: 1 };

/** Rows that the largest micro-batch is looked for among: after so many, epochs bring hardly a larger one. */
const LOOKED_AT = 2 ** 21;

class Plan<Batch> implements ReadyPlan<Batch> {
  readonly length: number;
  readonly stepsPerEpoch: number;
  readonly #samples: Samples<Batch>;
  readonly #rows: Rows;
  readonly #options: StepOptions;
  /** The order of the epoch that was asked for last. */
  #order: { epoch: number; rows: Uint32Array } | undefined;
  #largest: LargestMicroBatch | undefined;

  constructor(samples: Samples<Batch>, rows: Rows, options: StepOptions, stepsPerEpoch: number, length: number) {
    this.#samples = samples;
    this.#rows = rows;
    this.#options = options;
    this.stepsPerEpoch = stepsPerEpoch;
    this.length = length;
  }

  get largest(): LargestMicroBatch {
    this.#largest ??= this.#findLargest();
    return this.#largest;
  }

  step(index: number): ReadyStep<Batch> {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) {
      throw new RangeError(`no step ${index} among ${this.length}`);
    }
    const shards = this.#shardsOf(index);
    const indices = shards.flat(2);
    const { share = ALL } = this.#options;
    const own = shards.length / share.size;
    const [from, end] = [own * share.rank, own * (share.rank + 1)];
    return {
      index,
      epoch: Math.floor(index / this.stepsPerEpoch),
      shards: shards.slice(from, end).map((batches, at) => ({
        first: sum(shards.slice(0, from + at), ({ length }) => length),
        microBatches: batches.map((samples) => this.#samples.batchOf(samples)),
      })),
      targets: sum(indices, (i) => this.#samples.targetsOf(i)),
      tokens: sum(indices, (i) => this.#samples.lengthOf(i)),
    };
  }

  /** The samples of every micro-batch of each shard of a step. */
  #shardsOf(index: number): number[][][] {
    const { batchSize, accumulation, shards = 1 } = this.#options;
    const order = this.#orderOf(Math.floor(index / this.stepsPerEpoch));
    const first = (index % this.stepsPerEpoch) * batchSize * accumulation;
    const count = Math.min(batchSize * accumulation, order.length - first);
    return Array.from({ length: shards }, (_, shard) => {
      const end = first + Math.floor((count * (shard + 1)) / shards);
      const batches: number[][] = [];
      for (let from = first + Math.floor((count * shard) / shards); from < end; from += batchSize) {
        const rows = [...order.subarray(from, Math.min(from + batchSize, end))];
        batches.push(rows.flatMap((row) => this.#rows.samplesOf(row)));
      }
      return batches;
    });
  }

  #orderOf(epoch: number): Uint32Array {
    if (this.#order?.epoch !== epoch) {
      const { length } = this.#rows;
      const { shuffle, seed } = this.#options;
      const rows = shuffle ? shuffled(length, seed, "epoch", epoch) : Uint32Array.from({ length }, (_, i) => i);
      this.#order = { epoch, rows };
    }
    return this.#order.rows;
  }

  #findLargest(): LargestMicroBatch {
    // Without shuffling every epoch has the same micro-batches.
    const { batchSize, accumulation, shuffle } = this.#options;
    const distinct = Math.min(
      shuffle ? this.length : Math.min(this.length, this.stepsPerEpoch),
      Math.max(this.stepsPerEpoch, Math.ceil(LOOKED_AT / (batchSize * accumulation))),
    );
    const most = {
      tokens: this.#longestRows((i) => this.#samples.lengthOf(i)),
      targets: this.#longestRows((i) => this.#samples.targetsOf(i)),
    };
    let tokens = 0;
    let targets = 0;
    for (let index = 0; index < distinct && (tokens < most.tokens || targets < most.targets); index++) {
      for (const samples of this.#shardsOf(index).flat()) {
        tokens = Math.max(
          tokens,
          sum(samples, (i) => this.#samples.lengthOf(i)),
        );
        targets = Math.max(
          targets,
          sum(samples, (i) => this.#samples.targetsOf(i)),
        );
      }
    }
    return { tokens, targets };
  }

  /** What the rows with the most tokens have together, as many as a micro-batch takes: none has more. */
  #longestRows(of: (i: number) => number): number {
    const sizes = Uint32Array.from({ length: this.#rows.length }, (_, row) => sum(this.#rows.samplesOf(row), of));
    return sizes
      .toSorted()
      .subarray(-this.#options.batchSize)
      .reduce((total, size) => total + size, 0);
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** What is batched: the samples of each row, by number. */
interface Rows {
  readonly length: number;
  samplesOf(row: number): readonly number[];
}

/**
 * Cuts a data set into rows, the same for every epoch. Without packing a row is a sample. With it, samples join a row
 * for as long as they fit (next fit: without padding a row that is not full costs nothing), in file order or, where
 * epochs are shuffled, in an order drawn once, so that neighbors in the file do not always share a row.
 */
function rowsOf(
  data: Pick<Samples<unknown>, "length" | "lengthOf">,
  { packing, shuffle, seed }: Omit<StepOptions, "length">,
): Rows {
  if (packing === undefined) return { length: data.length, samplesOf: (row) => [row] };
  const order = shuffle
    ? shuffled(data.length, seed, "packing")
    : Uint32Array.from({ length: data.length }, (_, i) => i);
  const bounds: number[] = [];
  let room = 0;
  for (const [k, i] of order.entries()) {
    if (data.lengthOf(i) > room) {
      bounds.push(k);
      room = packing;
    }
    room -= data.lengthOf(i);
  }
  return { length: bounds.length, samplesOf: (row) => [...order.subarray(bounds[row], bounds[row + 1])] };
}
