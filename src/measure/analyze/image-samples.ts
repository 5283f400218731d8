import { shuffled } from "../../data/batches/shuffle.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { openImages } from "../../data/images/datasets/open.ts";
import { type ImageSet, type Split, subsetOf } from "../../data/images/datasets/types.ts";

/** Which split is looked at where none is named: the first that is there. */
const SPLITS = ["test", "valid", "train"] as const;

export interface ImageChoice {
  /** A folder of images. */
  readonly data: string;
  /** One of the paper's sets, in its own layout. */
  readonly dataset?: string | undefined;
  readonly split?: Split | undefined;
  /** Images to take; undefined: all. */
  readonly most?: number | undefined;
  /** The names and order of the classes, where a head has decided them. */
  readonly classes?: readonly string[] | undefined;
}

/**
 * Images of all classes in one order at random, the same each time, and the first of them: files lie class by class.
 * @throws RandloraError as `openImages`; `data` without such a split
 */
export async function openSamples({ split, most, ...choice }: ImageChoice): Promise<ImageSet> {
  for (const name of split === undefined ? SPLITS : [split]) {
    const set = await openImages({ ...choice, split: name });
    if (set !== undefined) return subsetOf(set, shuffled(set.labels.length, 0n, "analysis").subarray(0, most));
  }
  const cause = `${oneLine(choice.data)}: no ${split ?? "test, valid or train"} split`;
  throw new RandloraError("data", cause, "it takes test/CLASS/*, test.csv, test.jsonl or test.parquet");
}
