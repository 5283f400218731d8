import { philox4x32, philoxKey } from "../../compute/random/philox.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";

/** What an order is drawn for: orders for different purposes are independent, whatever the seed. */
export type ShufflePurpose = "epoch" | "split" | "packing" | "shots" | "fraction" | "analysis";
const STREAMS: Record<ShufflePurpose, number> = {
  epoch: 0x65706f63,
  split: 0x73706c69,
  packing: 0x7061636b,
  shots: 0x73686f74,
  fraction: 0x66726163,
  analysis: 0x616e616c,
};

/**
 * A random order of 0 … length − 1 (Fisher and Yates), a function of its arguments alone: element i of the shuffle is
 * drawn from philox at counter (i, number, purpose, 0) under the key `seed`.
 *
 * @param number which order of this purpose: the epoch, from 0
 */
export function shuffled(length: number, seed: bigint, purpose: ShufflePurpose, number = 0): Uint32Array {
  const key = philoxKey(seed);
  const order = Uint32Array.from({ length }, (_, i) => i);
  const words = new Uint32Array(4);
  for (let i = length - 1; i > 0; i--) {
    philox4x32(words, [i, number, STREAMS[purpose], 0], key);
    // 53 random bits: the bias is below i / 2^53, and the product is the same on every machine.
    const unit = ((words[0] ?? 0) * 2 ** 21 + ((words[1] ?? 0) >>> 11)) / 2 ** 53;
    const j = Math.floor(unit * (i + 1));
    const moved = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = moved;
  }
  return order;
}

/**
 * Sets a part of the samples aside for validation: drawn by `seed`, disjoint from the rest, both in file order. At least
 * one sample goes to either side.
 *
 * @param count how many samples there are
 * @param fraction of the samples, above 0 and below 1
 * @param path of the data, for errors
 * @returns the indices of the samples
 * @throws {RandloraError} `usage` for another fraction, `data` where there is only one sample
 */
export function splitForValidation(
  count: number,
  fraction: number,
  seed: bigint,
  path: string,
): { readonly train: number[]; readonly valid: number[] } {
  if (!(fraction > 0 && fraction < 1)) {
    throw new RandloraError("usage", `--valid-split ${fraction}: not a part of the data`, "0.1 sets a tenth aside");
  }
  if (count < 2) {
    throw new RandloraError(
      "data",
      `${oneLine(path)}: one sample cannot be split into training and validation data`,
      "leave out --valid-split, or give more samples",
    );
  }
  const aside = Math.min(Math.max(Math.round(fraction * count), 1), count - 1);
  const order = shuffled(count, seed, "split");
  return {
    train: [...order.subarray(aside)].toSorted((a, b) => a - b),
    valid: [...order.subarray(0, aside)].toSorted((a, b) => a - b),
  };
}

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
