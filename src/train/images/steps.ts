import { RandloraError } from "../../files/errors.ts";
import type { LargestMicroBatch, ReadyPlan, Shard, Step, StepPlan } from "../../data/batches/types.ts";
import type { LoadedBatch, ImageLoader, ImageRequest, PreparedBatch } from "../../data/images/loader.ts";
import type { ImageBatch } from "./batch.ts";

/** Micro-batches that are prepared while others are trained on: as many as a loader begins. */
const AHEAD = 2;

/** Micro-batches of a step that have been read and stay in memory. */
type Kept = readonly (PreparedBatch | undefined)[];

export interface ImageStepsOptions {
  /** Made when the first image is needed. */
  readonly loader: () => ImageLoader;
  /** Told of images that were left out. */
  readonly onBad: (line: string) => void;
  /** For an evaluation: where nothing of a step can be read, it stays empty. */
  readonly eachOnce?: boolean;
  /** What processes that share a step have of it together; what this one has by default. */
  readonly countAll?: ((own: number) => Promise<number>) | undefined;
  /** Bytes of prepared images that stay in memory when a step is read through; what is beyond is read once more. */
  readonly keptBytes?: number;
}

/** Steps of images, which are loaded when they are asked for; those that come next are begun then. */
export class ImageSteps implements StepPlan<ImageBatch> {
  readonly #plan: ReadyPlan<readonly number[]>;
  readonly #loader: () => ImageLoader;
  readonly #onBad: (line: string) => void;
  readonly #eachOnce: boolean;
  readonly #keptBytes: number;
  readonly #countAll: (own: number) => Promise<number>;

  /** @param plan which images the micro-batches have */
  constructor(
    plan: ReadyPlan<readonly number[]>,
    { loader, onBad, eachOnce = false, keptBytes = 2 ** 28, countAll = async (own) => own }: ImageStepsOptions,
  ) {
    this.#plan = plan;
    this.#loader = loader;
    this.#onBad = onBad;
    this.#eachOnce = eachOnce;
    this.#keptBytes = keptBytes;
    this.#countAll = countAll;
  }

  get length(): number {
    return this.#plan.length;
  }

  get stepsPerEpoch(): number {
    return this.#plan.stepsPerEpoch;
  }

  get largest(): LargestMicroBatch {
    return this.#plan.largest;
  }

  /**
   * Micro-batches are loaded as they are gone through: those of a whole step would take as much memory as the user's
   * --grad-accum asks for. Images that may be left out are no part of a step's indices, so such a step is read through
   * first; a micro-batch without any is left out, too, and a step without any that is trained on has those of the next
   * that has some.
   * @throws RandloraError `data` where no image of an epoch's steps can be read; what goes through the micro-batches
   *   throws as `ImageLoader.load`
   */
  async step(index: number): Promise<Step<ImageBatch>> {
    const planned = this.#plan.step(index);
    const loader = this.#loader();
    loader.expect(this.#requestsFrom(index, AHEAD));
    if (!loader.skipsBad) return { ...planned, shards: this.#shards(index) };
    let bad = "";
    for (let tried = 0; tried < Math.min(this.stepsPerEpoch, this.length); tried++) {
      const at = (index + tried) % this.length;
      const { count: own, kept, named } = await this.#readThrough(at);
      const count = await this.#countAll(own);
      bad ||= named;
      if (count > 0 || this.#eachOnce)
        return { ...planned, shards: this.#shards(at, kept), targets: count, tokens: count };
    }
    throw new RandloraError("data", `no image can be read; the first: ${bad}`);
  }

  /** How many images of a step can be read, what of it may stay in memory, and why the first that cannot be read cannot. */
  async #readThrough(index: number): Promise<{ count: number; kept: Kept; named: string }> {
    const loader = this.#loader();
    const requests = this.#requestsFrom(index, this.#countOf(index));
    const kept: (PreparedBatch | undefined)[] = [];
    let [count, bytes, named] = [0, 0, ""];
    for (const [at, request] of requests.entries()) {
      loader.expect(requests.slice(at));
      const prepared = await loader.prepare(request);
      const { good, bad } = prepared;
      count += good.length;
      bytes += good.reduce((sum, image) => sum + image.bytes.length, 0);
      kept.push(bytes <= this.#keptBytes ? prepared : undefined);
      bad.forEach(this.#onBad);
      named ||= bad[0] ?? "";
    }
    return { count, kept, named };
  }

  /** The micro-batches of a step that have images, shard by shard. @param kept those that have been read */
  #shards(index: number, kept: Kept = []): Shard<LoadedBatch>[] {
    let end = 0;
    return this.#plan.step(index).shards.map(({ first, microBatches }) => {
      const from = end;
      end += microBatches.length;
      const range = [from, end] as const;
      return { first, microBatches: { [Symbol.asyncIterator]: () => this.#load(index, range, kept) } };
    });
  }

  async *#load(index: number, [first, end]: readonly [number, number], kept: Kept): AsyncGenerator<LoadedBatch> {
    const loader = this.#loader();
    const requests = this.#requestsFrom(index, this.#countOf(index) + AHEAD);
    const expectFrom = (from: number) =>
      loader.expect(requests.slice(from).filter((_, after) => kept[from + after] === undefined));
    for (const [after, request] of requests.slice(first, end).entries()) {
      const at = first + after;
      expectFrom(at);
      const batch = loader.batchOf(kept[at] ?? (await loader.prepare(request).catch(advise)));
      expectFrom(at + 1);
      if (batch.images.count > 0) yield batch;
    }
  }

  /** The number of a step's micro-batches. */
  #countOf(index: number): number {
    return this.#plan.step(index).shards.flatMap(({ microBatches }) => microBatches).length;
  }

  /** The micro-batches of a step and those after it, so many at least where the run has them. */
  #requestsFrom(index: number, count: number): ImageRequest[] {
    const requests: ImageRequest[] = [];
    for (let next = index; next < this.length && requests.length < count; next++) {
      const { epoch, shards } = this.#plan.step(next);
      requests.push(...shards.flatMap(({ microBatches }) => microBatches.map((indices) => ({ indices, epoch }))));
    }
    return requests;
  }
}

/** What can be done about an image that cannot be read. @throws what was thrown, with that as its hint */
function advise(thrown: unknown): never {
  if (!(thrown instanceof RandloraError)) throw thrown;
  const hints = [thrown.hint, "--skip-bad-images leaves such images out and names them"].filter((hint) => hint !== "");
  throw new RandloraError(thrown.code, thrown.message, hints.join("; "), { cause: thrown });
}
