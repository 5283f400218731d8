import { type BatchOptions, imageBatches } from "../images/batches.ts";
import type { LoadedBatch } from "../../data/images/loader.ts";
import { type ImageSet, subsetOf } from "../../data/images/datasets/types.ts";

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
