import { median } from "../peers/measure.ts";

/** One step, by the clock and by the processor time of who computed it. */
export interface StepTime {
  readonly seconds: number;
  /** Of all threads; NaN where nobody knows. */
  readonly coreSeconds: number;
}

/** Steps of one contender. */
export interface Timed {
  readonly runs: readonly StepTime[];
  readonly median: StepTime;
}

/** A contender's step, which tells its own time. */
export type TimedStep = () => Promise<StepTime>;

/** Times a step that computes in this process, the threads of a software GPU among them. */
export async function timed(step: () => Promise<void>): Promise<StepTime> {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  await step();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - wall) / 1000, coreSeconds: (user + system) / 1e6 };
}

/**
 * Takes one step of each contender, round after round, so that whatever else the machine does meets them all; the first
 * round, which compiles and fills caches, does not count.
 */
export async function inRounds<Name extends string>(
  contenders: ReadonlyMap<Name, TimedStep>,
  rounds: number,
  note: (line: string) => void,
): Promise<ReadonlyMap<Name, Timed>> {
  const runs = new Map<Name, StepTime[]>();
  for (let round = 0; round <= rounds; round++) {
    for (const [name, step] of contenders) {
      note(`${name}: ${round === 0 ? "warm-up" : `step ${round} of ${rounds}`}`);
      const time = await step();
      if (round > 0) runs.set(name, [...(runs.get(name) ?? []), time]);
    }
  }
  return new Map([...runs].map(([name, times]) => [name, { runs: times, median: medianOf(times) }]));
}

function medianOf(times: readonly StepTime[]): StepTime {
  return {
    seconds: median(times.map(({ seconds }) => seconds)),
    coreSeconds: median(times.map(({ coreSeconds }) => coreSeconds)),
  };
}

/** How much longer one takes than the other: by the clock, and by processor time. */
export function ratios(one: Timed, other: Timed): StepTime {
  return {
    seconds: one.median.seconds / other.median.seconds,
    coreSeconds: one.median.coreSeconds / other.median.coreSeconds,
  };
}
