import { ImageLoader, type LoadedBatch } from "../../data/images/loader.ts";
import type { Preprocessing } from "../../data/images/preprocessing.ts";
import { ALONE, ownRange, type Processes } from "../../mpi/processes.ts";
import type { ImageSet } from "../../data/images/datasets/types.ts";

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
