import type { Commands, Device } from "../device/device.ts";
import { Run } from "./run.ts";

/** A word of a command's parameters that is not the same at every place. */
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
  readonly #commands: Commands;
  readonly #moving: readonly Moving[];

  /**
   * @param places how many there are, at least 2
   * @param record is called for the first, the second and the last place
   * @throws Error where the recordings differ in anything else than words that move evenly; what `record` throws
   */
  constructor(device: Device, places: number, record: (run: Run, place: number) => T) {
    this.#run = new Run(device);
    using other = new Run(device);
    const elsewhere = (place: number): Commands => {
      record(other, place);
      const commands = other.take();
      other.discard();
      return commands;
    };
    try {
      this.result = record(this.#run, 0);
      this.#commands = this.#run.take();
      this.#moving = movingWords(this.#commands, elsewhere(1), elsewhere(places - 1), places - 1);
    } catch (thrown) {
      this.#run[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Sends the recording for this place. Does not wait for the GPU; the next one is sent when this has settled. */
  async send(place: number): Promise<void> {
    for (const { words, index, atZero, slope } of this.#moving) words[index] = atZero + slope * place;
    await this.#commands.send();
  }

  /** Gives the memory back; it cannot be sent afterwards. */
  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
  }
}

/** What moves from place 0 to 1; the recording of place number `end` shows that it goes on so. */
function movingWords(atZero: Commands, atOne: Commands, atEnd: Commands, end: number): Moving[] {
  if (!atZero.isLike(atOne) || !atZero.isLike(atEnd)) {
    throw new Error("a recording has other commands at other places, and cannot be replayed");
  }
  const [ones, fars] = [atOne.parameters, atEnd.parameters];
  return atZero.parameters.flatMap((words, at) => {
    const [one, far] = [ones[at] ?? [], fars[at] ?? []];
    return Array.from(words).flatMap((word, index) => {
      const slope = ((one[index] ?? NaN) - word) | 0;
      if (far[index] !== (word + slope * end) >>> 0) {
        throw new Error("a number of a recording does not move evenly, and cannot be replayed");
      }
      return slope === 0 ? [] : [{ words, index, atZero: word, slope }];
    });
  });
}
