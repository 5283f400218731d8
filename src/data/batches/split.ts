import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { shuffled } from "./shuffle.ts";

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
