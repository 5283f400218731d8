import { type DataChoice, locateData, theSame } from "./files.ts";
import { loadDataSet, type LoadOptions } from "./load.ts";
import { splitForValidation } from "../../batches/shuffle.ts";
import type { DataSet, DataTotals } from "./types.ts";

export interface TrainingDataOptions extends LoadOptions {
  /** Draws what `--valid-split` sets aside. */
  readonly seed: bigint;
}

/** What a run is trained on and judged by. */
export interface TrainingData {
  readonly train: DataSet;
  readonly valid: DataSet | undefined;
  /** Of the files as they were read, before a part was set aside: how many samples were cut or dropped. */
  readonly read: readonly { readonly path: string; readonly totals: DataTotals }[];
}

/**
 * Loads training and validation data.
 *
 * @throws {RandloraError} as `locateData`, `loadDataSet` and `splitForValidation` do
 */
export async function loadTrainingData(choice: DataChoice, options: TrainingDataOptions): Promise<TrainingData> {
  const files = await locateData({ ...choice, withoutTest: true });
  const data = await loadDataSet(files.train, options);
  const read = [{ path: data.path, totals: data.totals }];
  if (choice.validSplit !== undefined) {
    const { train, valid } = splitForValidation(data.length, choice.validSplit, options.seed, data.path);
    return { train: data.select(train), valid: data.select(valid), read };
  }
  if (files.valid === undefined) return { train: data, valid: undefined, read };
  const valid = await loadDataSet(files.valid, options);
  if (areSame(data, valid)) throw theSame(files.train, files.valid);
  return { train: data, valid, read: [...read, { path: valid.path, totals: valid.totals }] };
}

/** Do both hold the same samples, be it in files of two formats? */
function areSame(a: DataSet, b: DataSet): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const [{ ids }, { ids: others }] = [a.sample(i), b.sample(i)];
    if (ids.length !== others.length || ids.some((id, at) => id !== others[at])) return false;
  }
  return true;
}
