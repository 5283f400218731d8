/** What one run takes, in seconds. */
export interface Timing {
  readonly medianSeconds: number;
  readonly minSeconds: number;
  /** Median absolute deviation. */
  readonly spreadSeconds: number;
  readonly runs: number;
}

/** How long a thing is run before it is timed, and timed, in seconds; never fewer than three times. */
const WARM_UP = 0.1;
const TIMED = 0.5;
const LEAST = 3;

/** Times runs of `run` one after another. Those of the warm-up, of which the first compiles, do not count. */
export async function time(run: () => Promise<void> | void): Promise<Timing> {
  await runsOf(run, WARM_UP, 1);
  const times = (await runsOf(run, TIMED, LEAST)).toSorted((left, right) => left - right);
  const medianSeconds = middle(times);
  const off = times.map((seconds) => Math.abs(seconds - medianSeconds)).toSorted((left, right) => left - right);
  return { medianSeconds, minSeconds: times[0] ?? NaN, spreadSeconds: middle(off), runs: times.length };
}

async function runsOf(run: () => Promise<void> | void, seconds: number, least: number): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (times.length < least || performance.now() < end) {
    const begun = performance.now();
    await run();
    times.push((performance.now() - begun) / 1000);
  }
  return times;
}

function middle(sorted: readonly number[]): number {
  return sorted[sorted.length >> 1] ?? NaN;
}
