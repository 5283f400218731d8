import { RandloraError } from "../errors.ts";
import type { LargestMicroBatch, ReadyPlan, Step, StepPlan } from "../data/types.ts";
import type { LoadedBatch, PictureLoader, PictureRequest } from "../images/loader.ts";
import type { PictureBatch } from "../tasks/pictures.ts";

/** Micro-batches that are prepared while others are learnt from: as many as a loader begins. */
const AHEAD = 2;

export interface PictureStepsOptions {
  /** Made when the first picture is needed. */
  readonly loader: () => PictureLoader;
  /** Told of pictures that were left out. */
  readonly onBad: (line: string) => void;
  /** For an evaluation: where nothing of a step can be read, it stays empty. */
  readonly eachOnce?: boolean;
}

/** Steps of pictures, which are loaded when they are asked for; those that come next are begun then. */
export class PictureSteps implements StepPlan<PictureBatch> {
  readonly #numbers: ReadyPlan<readonly number[]>;
  readonly #loader: () => PictureLoader;
  readonly #onBad: (line: string) => void;
  readonly #eachOnce: boolean;

  /** @param numbers which pictures the micro-batches have */
  constructor(numbers: ReadyPlan<readonly number[]>, { loader, onBad, eachOnce = false }: PictureStepsOptions) {
    this.#numbers = numbers;
    this.#loader = loader;
    this.#onBad = onBad;
    this.#eachOnce = eachOnce;
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
   * Pictures that may be left out are no part of a step's numbers; a micro-batch without any is left out, too, and a step
   * without any that is learnt from has those of the next that has some.
   * @throws RandloraError as `PictureLoader.load`; `data` where no picture of an epoch's steps can be read
   */
  async step(index: number): Promise<Step<PictureBatch>> {
    let bad = "";
    for (let tried = 0; tried < Math.min(this.stepsPerEpoch, this.length); tried++) {
      const { microBatches, named } = await this.#load((index + tried) % this.length);
      bad ||= named;
      const count = microBatches.reduce((sum, { pictures }) => sum + pictures.count, 0);
      if (count > 0 || this.#eachOnce)
        return { ...this.#numbers.step(index), microBatches, targets: count, tokens: count };
    }
    throw new RandloraError("data", `no picture can be read; the first: ${bad}`);
  }

  /** The micro-batches of a step that have pictures, and why the first one that was left out cannot be read. */
  async #load(index: number): Promise<{ readonly microBatches: readonly LoadedBatch[]; readonly named: string }> {
    const { length } = this.#numbers.step(index).microBatches;
    const loader = this.#loader();
    const requests = this.#requestsFrom(index, length + AHEAD);
    const loaded: LoadedBatch[] = [];
    for (const [at, request] of requests.slice(0, length).entries()) {
      loader.expect(requests.slice(at));
      loaded.push(await loader.load(request).catch(advise));
    }
    loader.expect(requests.slice(length));
    const bad = loaded.flatMap((batch) => batch.bad);
    bad.forEach(this.#onBad);
    return { microBatches: loaded.filter(({ pictures }) => pictures.count > 0), named: bad[0] ?? "" };
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

/** What can be done about a picture that cannot be read. @throws what was thrown, with that as its hint */
function advise(thrown: unknown): never {
  if (!(thrown instanceof RandloraError)) throw thrown;
  const hints = [thrown.hint, "--skip-bad-images leaves such pictures out and names them"].filter(
    (hint) => hint !== "",
  );
  throw new RandloraError(thrown.code, thrown.message, hints.join("; "), { cause: thrown });
}
