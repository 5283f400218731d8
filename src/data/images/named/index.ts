import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { ARRAY_SETS } from "./arrays.ts";
import { caltech101, caltech256 } from "./caltech.ts";
import { country211 } from "./country211.ts";
import { cub200 } from "./cub200.ts";
import { dtd } from "./dtd.ts";
import { eurosat } from "./eurosat.ts";
import { fgvcAircraft } from "./fgvc-aircraft.ts";
import { food101 } from "./food101.ts";
import { gtsrb } from "./gtsrb.ts";
import { imagenet } from "./imagenet.ts";
import { pascalVoc } from "./pascal-voc.ts";
import { pets } from "./pets.ts";
import { resisc45 } from "./resisc45.ts";
import { sun397 } from "./sun397.ts";
import type { NamedSet } from "./types.ts";
import { ucf101 } from "./ucf101.ts";

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
