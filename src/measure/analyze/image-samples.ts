import { shuffled } from "../../data/batches/shuffle.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { openPictures } from "../../data/images/datasets/open.ts";
import { type PictureSet, type Split, subsetOf } from "../../data/images/datasets/types.ts";

/** Which split is looked at where none is named: the first that is there. */
const SPLITS = ["test", "valid", "train"] as const;

export interface PictureChoice {
  /** A folder of pictures. */
  readonly data: string;
  /** One of the paper's sets, in its own layout. */
  readonly dataset?: string | undefined;
  readonly split?: Split | undefined;
  /** Pictures to take; undefined: all. */
  readonly most?: number | undefined;
  /** The names and order of the classes, where a head has decided them. */
  readonly classes?: readonly string[] | undefined;
}

/**
 * Pictures of all classes in one order at random, the same each time, and the first of them: files lie class by class.
 * @throws RandloraError as `openPictures`; `data` without such a split
 */
export async function openSamples({ split, most, ...choice }: PictureChoice): Promise<PictureSet> {
  for (const name of split === undefined ? SPLITS : [split]) {
    const set = await openPictures({ ...choice, split: name });
    if (set !== undefined) return subsetOf(set, shuffled(set.labels.length, 0n, "analysis").subarray(0, most));
  }
  const cause = `${oneLine(choice.data)}: no ${split ?? "test, valid or train"} split`;
  throw new RandloraError("data", cause, "it takes test/CLASS/*, test.csv, test.jsonl or test.parquet");
}
