import { RandloraError } from "../../files/errors.ts";

/** Told of each reason for which an adapter cannot be applied, by those who look at its files all the same. */
export type Tolerate = (problem: RandloraError) => void;

/** What `work` gives; undefined where it throws a `RandloraError` and somebody tolerates that. */
export function tolerating<T>(tolerate: Tolerate | undefined, work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    return tolerated(tolerate, thrown);
  }
}

/** Tells of what was thrown, or throws it on. */
export function tolerated(tolerate: Tolerate | undefined, thrown: unknown): undefined {
  if (tolerate === undefined || !(thrown instanceof RandloraError)) throw thrown;
  tolerate(thrown);
}
