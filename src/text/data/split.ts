import { RandloraError } from "../../errors.ts";
import { shuffled } from "./shuffle.ts";
import type { StoredDataSet } from "./store.ts";
import type { DataSet } from "./types.ts";

/**
 * Sets a part of the samples aside for validation: drawn by `seed`, disjoint from the rest, both in file order. At least
 * one sample goes to either side.
 *
 * @param fraction of the samples, above 0 and below 1
 * @throws {RandloraError} `usage` for another fraction, `data` where there is only one sample
 */
export function splitForValidation(
  data: StoredDataSet,
  fraction: number,
  seed: bigint,
): { train: DataSet; valid: DataSet } {
  if (!(fraction > 0 && fraction < 1)) {
    throw new RandloraError("usage", `--valid-split ${fraction}: not a part of the data`, "0.1 sets a tenth aside");
  }
  if (data.length < 2) {
    throw new RandloraError(
      "data",
      `${data.path}: one sample cannot be split into training and validation data`,
      "leave out --valid-split, or give more samples",
    );
  }
  const count = Math.min(Math.max(Math.round(fraction * data.length), 1), data.length - 1);
  const order = shuffled(data.length, seed, "split");
  return {
    train: data.select([...order.subarray(count)].toSorted((a, b) => a - b)),
    valid: data.select([...order.subarray(0, count)].toSorted((a, b) => a - b)),
  };
}
