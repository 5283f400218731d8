import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { ARRAY_SETS } from "./arrays.ts";
import { caltech101, caltech256 } from "./caltech.ts";
import { country211, dtd, eurosat, imagenet, sun397 } from "./class-folders.ts";
import { gtsrb } from "./gtsrb.ts";
import { cub200, fgvcAircraft, food101, pets, resisc45, ucf101 } from "./lists.ts";
import { pascalVoc } from "./pascal-voc.ts";
import type { NamedSet } from "./types.ts";

/** The sets of the paper's vision-language experiments. */
export const NAMED_SETS: readonly NamedSet[] = [
  ...ARRAY_SETS,
  dtd,
  eurosat,
  gtsrb,
  resisc45,
  sun397,
  imagenet,
  food101,
  caltech101,
  caltech256,
  fgvcAircraft,
  pets,
  cub200,
  pascalVoc,
  country211,
  ucf101,
];

/** The set of this name, whatever its case. @throws {RandloraError} `usage` for another name */
export function namedSet(name: string): NamedSet {
  const found = NAMED_SETS.find((set) => set.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  const names = NAMED_SETS.map((set) => set.name).join(", ");
  throw new RandloraError("usage", `--dataset ${quote(name)}: not a known set`, `known are ${names}`);
}
