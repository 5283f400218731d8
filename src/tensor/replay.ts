import type { Gpu } from "../gpu/gpu.ts";
import { type Dispatch, Sender } from "../gpu/sender.ts";
import { Run } from "./run.ts";

/** A word of a dispatch's parameters that is not the same at every place. */
interface Moving {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly index: number;
  readonly atZero: number;
  readonly slope: number;
}

/**
 * A recording that is made once and sent many times, each time for another place: a position in a sequence. What
 * differs from place to place must be words of parameters that grow by the same amount from each place to the next, or
 * data that are written before it is sent.
 */
export class Replay<T> {
  /** What was recorded: results of `record`, whose memory lives as long as this. */
  readonly result: T;
  readonly #run: Run;
  readonly #sender: Sender;
  readonly #dispatches: readonly Dispatch[];
  readonly #moving: readonly Moving[];

  /**
   * @param places how many there are, at least 2
   * @param record is called for the first, the second and the last place
   * @throws Error where the recordings differ in anything else than words that move evenly; what `record` throws
   */
  constructor(gpu: Gpu, places: number, record: (run: Run, place: number) => T) {
    this.#sender = new Sender(gpu);
    this.#run = new Run(gpu);
    using other = new Run(gpu);
    const elsewhere = (place: number): readonly Dispatch[] => {
      record(other, place);
      const dispatches = other.take();
      other.discard();
      return dispatches;
    };
    try {
      this.result = record(this.#run, 0);
      this.#dispatches = this.#run.take().map((dispatch) => ({ ...dispatch, last: {} }));
      this.#moving = movingWords(this.#dispatches, elsewhere(1), elsewhere(places - 1), places - 1);
    } catch (thrown) {
      this.#run[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Sends the recording for this place. Does not wait for the GPU; the next one is sent when this has settled. */
  async send(place: number): Promise<void> {
    for (const { words, index, atZero, slope } of this.#moving) words[index] = atZero + slope * place;
    await this.#sender.send(this.#dispatches);
  }

  /** Gives the memory back; it cannot be sent afterwards. */
  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
  }
}

/** What moves from place 0 to 1; the recording of place number `end` shows that it goes on so. */
function movingWords(
  atZero: readonly Dispatch[],
  atOne: readonly Dispatch[],
  atEnd: readonly Dispatch[],
  end: number,
): Moving[] {
  const alike = [atOne, atEnd].every(
    (others) => others.length === atZero.length && atZero.every((dispatch, at) => isAlike(dispatch, others[at])),
  );
  if (!alike) throw new Error("a recording has other dispatches at other places, and cannot be replayed");
  return atZero.flatMap(({ parameters }, at) => {
    const [one, far] = [atOne[at]?.parameters ?? [], atEnd[at]?.parameters ?? []];
    return Array.from(parameters).flatMap((word, index) => {
      const slope = ((one[index] ?? NaN) - word) | 0;
      if (far[index] !== (word + slope * end) >>> 0) {
        throw new Error("a number of a recording does not move evenly, and cannot be replayed");
      }
      return slope === 0 ? [] : [{ words: parameters, index, atZero: word, slope }];
    });
  });
}

/** Do these run the same kernel on as many workgroups and the same ranges, of buffers of their own? */
function isAlike(one: Dispatch, other: Dispatch | undefined): boolean {
  if (other === undefined || one.kernel !== other.kernel) return false;
  const [of, ofOther] = [one, other].map(({ parameters, workgroups, buffers }) => {
    const ranges = buffers.flatMap((binding) => ("of" in binding ? [binding.offset, binding.size] : [binding.size]));
    return [parameters.length, ...workgroups, ...ranges].join(" ");
  });
  return of === ofOther;
}
