import { RandloraError } from "../errors.ts";
import type { LargestMicroBatch, ReadyPlan, Step, StepPlan } from "../data/types.ts";
import type { LoadedBatch, PictureLoader, PictureRequest } from "../images/loader.ts";
import type { PictureBatch } from "../tasks/pictures.ts";

/** Micro-batches that are prepared while others are learnt from. */
const AHEAD = 3;

/** Steps of pictures, which are loaded when they are asked for; those that come next are begun then. */
export class PictureSteps implements StepPlan<PictureBatch> {
  readonly #numbers: ReadyPlan<readonly number[]>;
  readonly #loader: () => PictureLoader;
  readonly #onBad: (line: string) => void;

  /**
   * @param numbers which pictures the micro-batches have
   * @param loader made when the first picture is needed
   * @param onBad told of pictures that were left out
   */
  constructor(numbers: ReadyPlan<readonly number[]>, loader: () => PictureLoader, onBad: (line: string) => void) {
    this.#numbers = numbers;
    this.#loader = loader;
    this.#onBad = onBad;
  }

  get length(): number {
    return this.#numbers.length;
  }

  get stepsPerEpoch(): number {
    return this.#numbers.stepsPerEpoch;
  }

  get largest(): LargestMicroBatch {
    return this.#numbers.largest;
  }

  /**
   * Pictures that may be left out are no part of a step's numbers; a micro-batch without any is left out, too.
   * @throws RandloraError as `PictureLoader.load`; `data` where none of a step's pictures can be read
   */
  async step(index: number): Promise<Step<PictureBatch>> {
    const step = this.#numbers.step(index);
    const loader = this.#loader();
    const requests = this.#requestsFrom(index, step.microBatches.length + AHEAD);
    const loaded: LoadedBatch[] = [];
    for (const [at, request] of requests.slice(0, step.microBatches.length).entries()) {
      loader.expect(requests.slice(at));
      loaded.push(await loader.load(request));
    }
    loader.expect(requests.slice(step.microBatches.length));
    const bad = loaded.flatMap((batch) => batch.bad);
    bad.forEach(this.#onBad);
    const microBatches = loaded.filter(({ pictures }) => pictures.count > 0);
    const count = microBatches.reduce((sum, { pictures }) => sum + pictures.count, 0);
    if (count === 0) {
      const cause = `none of the ${bad.length} pictures of a step can be read: ${bad[0]}`;
      throw new RandloraError("data", cause, "remove them, or give a larger --batch-size");
    }
    return { ...step, microBatches, targets: count, tokens: count };
  }

  /** The micro-batches of a step and those after it, so many at least where the run has them. */
  #requestsFrom(index: number, count: number): PictureRequest[] {
    const requests: PictureRequest[] = [];
    for (let next = index; next < this.length && requests.length < count; next++) {
      const { epoch, microBatches } = this.#numbers.step(next);
      requests.push(...microBatches.map((numbers) => ({ numbers, epoch })));
    }
    return requests;
  }
}
