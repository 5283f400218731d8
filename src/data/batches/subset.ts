import { RandloraError } from "../../files/errors.ts";
import { shuffled } from "./shuffle.ts";

/**
 * Few shots: of each class the first `shots` samples in an order drawn by `seed`, all of a class that has fewer.
 *
 * @param labels of the samples
 * @returns the indices of the samples, in the set's order
 * @throws {RandloraError} `usage` for shots that are no positive whole number
 */
export function shotsOf(labels: ArrayLike<number>, shots: number, seed: bigint): Uint32Array {
  if (!Number.isSafeInteger(shots) || shots < 1) {
    throw new RandloraError("usage", `--shots ${shots}: not a number of samples a class`);
  }
  const taken = new Map<number, number>();
  const chosen = shuffled(labels.length, seed, "shots").filter((i) => {
    const label = labels[i] ?? 0;
    const before = taken.get(label) ?? 0;
    taken.set(label, before + 1);
    return before < shots;
  });
  return chosen.toSorted();
}

/**
 * A part of a set, drawn by `seed`: rounded down, at least one sample.
 *
 * @param fraction above 0, up to 1
 * @returns the indices of the samples, in the set's order
 * @throws {RandloraError} `usage` for another fraction
 */
export function fractionOf(count: number, fraction: number, seed: bigint): Uint32Array {
  if (!(fraction > 0 && fraction <= 1)) {
    throw new RandloraError("usage", `--fraction ${fraction}: not a part of the data`, "0.5 takes half of it");
  }
  const length = Math.min(count, Math.max(1, Math.floor(count * fraction)));
  return shuffled(count, seed, "fraction").subarray(0, length).toSorted();
}
