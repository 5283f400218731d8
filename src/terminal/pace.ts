import { formatClock } from "./format.ts";

/** Pieces that the pace is told from. */
const RECENT = 16;

/** How fast work goes that is done in pieces of about the same size: steps of a training run. */
export class Pace {
  /** The first piece, which compiles kernels, says nothing about the others once there are some. */
  readonly #recent: number[] = [];

  /** A piece is done. @param seconds that it took */
  add(seconds: number): void {
    this.#recent.push(seconds);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  /** Seconds that so many pieces will take; undefined while only the first one was measured. */
  secondsFor(pieces: number): number | undefined {
    const measured = this.#recent.slice(1);
    if (measured.length === 0) return undefined;
    return (pieces * measured.reduce((sum, seconds) => sum + seconds, 0)) / measured.length;
  }
}

/** The time left as a part of a live line; nothing where it is not known, or none is left. */
export function timeLeft(seconds: number | undefined): string[] {
  return seconds === undefined || seconds <= 0 ? [] : [`${formatClock(seconds)} left`];
}
