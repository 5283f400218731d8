import { ImageLoader, type LoadedBatch } from "../../data/images/loader.ts";
import type { Preprocessing } from "../../data/images/preprocessing.ts";
import { ALONE, ownRange, type Processes } from "../../mpi/processes.ts";
import { type ImageSet, subsetOf } from "../../data/images/datasets/types.ts";

export interface BatchOptions {
  readonly preprocessing: Preprocessing;
  /** Images of a batch at most. */
  readonly batchSize: number;
  readonly signal?: AbortSignal | undefined;
  /** That share the batches; this one alone by default. */
  readonly processes?: Processes | undefined;
}

/** A thread takes longer to start than an image to prepare. */
const WORTH_THREADS = 8;

/**
 * A set's images in their order, in batches, the next ones of which are prepared meanwhile; of several processes each has its
 * part of them.
 * @throws RandloraError `file` or `format` naming the first image that cannot be read; the signal's reason when it is
 *   aborted
 */
export async function* imageBatches(
  set: ImageSet,
  { preprocessing, batchSize, signal, processes = ALONE }: BatchOptions,
): AsyncGenerator<LoadedBatch> {
  const count = set.labels.length;
  const all = Array.from({ length: Math.ceil(count / batchSize) }, (_, batch) => {
    const begin = batch * batchSize;
    const indices = Array.from({ length: Math.min(batchSize, count - begin) }, (__, at) => begin + at);
    return { indices, epoch: 0 };
  });
  const requests = all.slice(...ownRange(processes, all.length));
  using loader = new ImageLoader(set, { preprocessing, ...(count < WORTH_THREADS && { threads: 0 }) });
  for (const [at, request] of requests.entries()) {
    signal?.throwIfAborted();
    loader.expect(requests.slice(at, at + 3));
    yield await loader.load(request);
  }
}

/** Images are kept up to so many bytes: some 1,700 of 224 × 224 pixels. */
const MOST_BYTES = 2 ** 30;

/** A set's batches, gone through again and again: what fits is prepared once, the rest each time. */
export class KeptBatches {
  readonly #set: ImageSet;
  readonly #options: BatchOptions;
  readonly #room: number;
  /** The first ones of the set. */
  readonly #kept: LoadedBatch[] = [];

  /** @param room bytes that are kept */
  constructor(set: ImageSet, options: BatchOptions, room = MOST_BYTES) {
    this.#set = set;
    this.#options = options;
    this.#room = room;
  }

  /** @throws as `imageBatches` */
  async *[Symbol.asyncIterator](): AsyncGenerator<LoadedBatch> {
    yield* this.#kept;
    let first = this.#kept.reduce((sum, { labels }) => sum + labels.length, 0);
    const { length } = this.#set.labels;
    if (first === length) return;
    const rest = subsetOf(
      this.#set,
      Uint32Array.from({ length: length - first }, (_, at) => first + at),
    );
    let bytes = this.#kept.reduce((sum, { images }) => sum + images.pixels.byteLength, 0);
    let isBeside = true;
    for await (const batch of imageBatches(rest, this.#options)) {
      bytes += batch.images.pixels.byteLength;
      isBeside &&= bytes <= this.#room;
      if (isBeside) this.#kept.push(batch);
      first += batch.labels.length;
      yield batch;
    }
  }
}
