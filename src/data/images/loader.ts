import { RandloraError } from "../../files/errors.ts";
import { ImagePool } from "./pool.ts";
import type { Preprocessing } from "./preprocessing.ts";
import type { ImageSet } from "./datasets/types.ts";

/** Which images go through the model at once. */
export interface ImageRequest {
  /** Numbers of the set's images, in this order. */
  readonly indices: readonly number[];
  /** From 0; decides what augmentation draws. */
  readonly epoch: number;
}

/** Images as models take them, and the classes that they are of. */
export interface LoadedBatch {
  readonly images: {
    /** Fewer than were asked for where bad ones are skipped. */
    readonly count: number;
    readonly size: readonly [height: number, width: number];
    /** (count, 3, height, width), normalized. */
    readonly pixels: Float32Array;
  };
  /** Of each image. */
  readonly labels: Uint32Array<ArrayBuffer>;
  /** Images that could not be read, and why, one line each. */
  readonly bad: readonly string[];
}

/** Images of a request that have been read and prepared: bytes, a quarter of what models take. */
export interface PreparedBatch {
  readonly good: readonly { readonly bytes: Uint8Array; readonly label: number }[];
  /** As in {@link LoadedBatch}. */
  readonly bad: readonly string[];
}

export interface LoaderOptions {
  readonly preprocessing: Preprocessing;
  /** Crop and mirror at random, by this seed, instead of resizing to the middle. */
  readonly augment?: bigint | undefined;
  /** Leave images out that cannot be read, instead of throwing. */
  readonly skipBad?: boolean | undefined;
  /** Threads that prepare images; 0: none beside this one. */
  readonly threads?: number | undefined;
  /** Batches that are prepared ahead of time, at most. */
  readonly ahead?: number | undefined;
}

/** An image that was prepared, or why it was not. */
type Prepared = { readonly bytes: Uint8Array } | { readonly thrown: unknown };

/**
 * Makes batches of a set's images, some of them before they are asked for. A batch is a function of the set, the options
 * and the request alone: neither threads nor what was prepared ahead change a bit of it.
 */
export class ImageLoader implements Disposable {
  readonly #set: ImageSet;
  readonly #options: LoaderOptions;
  readonly #pool: ImagePool;
  readonly #table: Float32Array;
  /** Begun before they were asked for, by {@link keyOf}. */
  readonly #begun = new Map<string, Promise<Prepared[]>>();

  constructor(set: ImageSet, options: LoaderOptions) {
    this.#set = set;
    this.#options = options;
    this.#pool = new ImagePool(options.threads);
    this.#table = normalizationTable(options.preprocessing);
  }

  /**
   * Says what will be asked for next, in order: the first of it is begun, and what was begun but is not among it is let go.
   */
  expect(requests: readonly ImageRequest[]): void {
    const next = requests.slice(0, this.#options.ahead ?? 2);
    const keys = new Set(next.map(keyOf));
    for (const key of this.#begun.keys()) if (!keys.has(key)) this.#begun.delete(key);
    for (const request of next) {
      const key = keyOf(request);
      if (!this.#begun.has(key)) this.#begun.set(key, this.#begin(request));
    }
  }

  /** Are images left out that cannot be read? How many a batch has is then known once they have been read. */
  get skipsBad(): boolean {
    return this.#options.skipBad === true;
  }

  /** @throws {RandloraError} as {@link prepare} */
  async load(request: ImageRequest): Promise<LoadedBatch> {
    return this.batchOf(await this.prepare(request));
  }

  /**
   * @throws {RandloraError} `file` or `format` naming the first image of the request that cannot be read; with `skipBad`
   *   none, and perhaps a batch without images
   */
  async prepare(request: ImageRequest): Promise<PreparedBatch> {
    const key = keyOf(request);
    const begun = this.#begun.get(key) ?? this.#begin(request);
    this.#begun.delete(key);
    const prepared = await begun;
    const good: { bytes: Uint8Array; label: number }[] = [];
    const bad: string[] = [];
    for (const [i, result] of prepared.entries()) {
      if ("bytes" in result) good.push({ bytes: result.bytes, label: this.#set.labels[request.indices[i] ?? 0] ?? 0 });
      else if (this.skipsBad && result.thrown instanceof RandloraError) bad.push(result.thrown.message);
      else throw result.thrown;
    }
    return { good, bad };
  }

  /** Prepared images as models take them. */
  batchOf({ good, bad }: PreparedBatch): LoadedBatch {
    const { width, height } = this.#options.preprocessing;
    const size = 3 * width * height;
    const pixels = new Float32Array(good.length * size);
    for (const [i, { bytes }] of good.entries()) normalizeInto(bytes, this.#table, pixels, i * size);
    const images = { count: good.length, size: [height, width] as const, pixels };
    return { images, labels: Uint32Array.from(good, ({ label }) => label), bad };
  }

  /** Ends the threads. */
  [Symbol.dispose](): void {
    this.#begun.clear();
    this.#pool[Symbol.dispose]();
  }

  /** Never rejects: what is begun ahead may be let go, and then nobody listens. */
  async #begin({ indices, epoch }: ImageRequest): Promise<Prepared[]> {
    return await Promise.all(indices.map((index) => this.#prepareOne(index, epoch)));
  }

  async #prepareOne(index: number, epoch: number): Promise<Prepared> {
    const { preprocessing, augment: seed } = this.#options;
    try {
      const source = await this.#set.source(index);
      const augmentation = seed === undefined ? {} : { augmentation: { seed, epoch, index } };
      const bytes = await this.#pool.run({ source, upright: this.#set.upright, preprocessing, ...augmentation });
      return { bytes };
    } catch (thrown) {
      return { thrown };
    }
  }
}

function keyOf({ indices, epoch }: ImageRequest): string {
  return `${epoch}: ${indices.join(" ")}`;
}

/**
 * What each byte of each color becomes, as transformers' PIL backend computes it (image_transforms.py): the product with
 * the factor in f64, rounded to f32, then mean and deviation in f32. 3 · 256 numbers: red's first.
 */
export function normalizationTable({ rescale, normalize }: Pick<Preprocessing, "rescale" | "normalize">): Float32Array {
  return Float32Array.from({ length: 3 * 256 }, (_, i) => {
    const color = i >> 8;
    const byte = i & 255;
    const scaled = rescale === undefined ? byte : Math.fround(byte * rescale);
    if (normalize === undefined) return scaled;
    const centred = Math.fround(scaled - Math.fround(normalize.mean[color] as number));
    return centred / Math.fround(normalize.std[color] as number);
  });
}

/**
 * Normalizes an image's bytes into a batch.
 *
 * @param bytes height · width · 3
 * @param table of {@link normalizationTable}
 * @param out (3, height, width), one plane for each color, is written at `at`
 */
export function normalizeInto(bytes: Uint8Array, table: Float32Array, out: Float32Array, at: number): void {
  const pixels = bytes.length / 3;
  for (let color = 0; color < 3; color++) {
    const plane = at + color * pixels;
    const offset = color * 256;
    for (let i = 0, from = color; i < pixels; i++, from += 3) {
      out[plane + i] = table[offset + (bytes[from] as number)] as number;
    }
  }
}
