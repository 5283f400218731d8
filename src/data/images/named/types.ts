import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { ImageSet, Split } from "../datasets/types.ts";

/** One of the paper's sets: read like other images, or in a layout of its own. */
export type NamedSet = (PromptedSet & { readonly open?: undefined }) | LaidOutSet;

interface PromptedSet {
  /** As the paper's code spells it. */
  readonly name: string;
  /** Prompts for its classes, `{}` the class (CLIP, data/prompts.md). */
  readonly templates: readonly string[];
  /** Names of the classes, for data whose labels are numbers. */
  readonly classes?: readonly string[];
}

/** Files as a set's authors lay them out, with the splits and class names of the paper's code. */
export interface LaidOutSet extends PromptedSet {
  /** The splits that it comes with. */
  readonly splits: readonly Split[];
  /**
   * @param root the folder that holds all sets
   * @throws {RandloraError} `file`, `format` or `data` naming the file that is missing or wrong
   */
  open(root: string, split: Split): Promise<ImageSet>;
}

export const TRAIN_TEST: readonly Split[] = ["train", "test"];
export const ALL_SPLITS: readonly Split[] = ["train", "valid", "test"];

/** A file that is not as the set's own is. */
export function wrong(path: string, problem: string): RandloraError {
  return new RandloraError("data", `${oneLine(path)}: ${problem}`, "fetch the set again");
}
