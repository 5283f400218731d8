import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { caltech101, caltech256 } from "./caltech.ts";
import { cars } from "./cars.ts";
import { cifar10, cifar100 } from "./cifar.ts";
import { country211 } from "./country211.ts";
import { cub200 } from "./cub200.ts";
import { dtd } from "./dtd.ts";
import { eurosat } from "./eurosat.ts";
import { fgvcAircraft } from "./fgvc-aircraft.ts";
import { flowers102 } from "./flowers102.ts";
import { food101 } from "./food101.ts";
import { gtsrb } from "./gtsrb.ts";
import { imagenet } from "./imagenet.ts";
import { mnist } from "./mnist.ts";
import { pascalVoc } from "./pascal-voc.ts";
import { pets } from "./pets.ts";
import { resisc45 } from "./resisc45.ts";
import { stl10 } from "./stl10.ts";
import { sun397 } from "./sun397.ts";
import { svhn } from "./svhn.ts";
import type { NamedSet } from "./types.ts";
import { ucf101 } from "./ucf101.ts";

/** The sets of the paper's vision-language experiments. */
export const NAMED_SETS: readonly NamedSet[] = [
  cars,
  dtd,
  eurosat,
  gtsrb,
  mnist,
  resisc45,
  sun397,
  svhn,
  cifar10,
  cifar100,
  imagenet,
  stl10,
  food101,
  caltech101,
  caltech256,
  fgvcAircraft,
  flowers102,
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
