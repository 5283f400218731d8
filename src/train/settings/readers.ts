import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseTargets } from "../../adapters/base/targets.ts";
import { RandloraError } from "../../files/errors.ts";
import { parseHubName } from "../../files/hub/name.ts";
import { dateOf } from "../../data/text/samples/date.ts";
import { EMBEDDED } from "../../models/folder/locate.ts";
import { mapped, type Option, type Spec, text } from "../../terminal/options/option.ts";

// Options whose settings are not the texts that are typed.

type OptionSpec = Omit<Spec<undefined>, "default">;

/** A file or folder: absolute, since a run is resumed from anywhere. Words that are not paths stay. */
export function pathOption(spec: OptionSpec, words: readonly string[] = []): Option<string | undefined> {
  return mapped(text(spec), (path) => (words.includes(path) ? path : resolve(path)));
}

/** A model or an adapter; see {@link placeOf}. */
export function placeOption(spec: OptionSpec): Option<string | undefined> {
  return mapped(text(spec), placeOf);
}

/** A model or adapter as a run records it: absolute, or its name on the Hub or in this program. */
export function placeOf(name: string): string {
  if (parseHubName(name) !== undefined) return name;
  return name === EMBEDDED && !existsSync(name) ? name : resolve(name);
}

/** `--layers 0-11,20`: [0, 1, …, 11, 20]. */
export function layersOption(spec: Pick<OptionSpec, "topic" | "help">): Option<number[] | undefined> {
  return mapped(text({ value: "0-11,20", ...spec }), parseLayers);
}

/** `--targets`: names, `all-linear`, or a regular expression. Reading fails for commas alone. */
export function targetsOption(spec: OptionSpec): Option<string | string[] | undefined> {
  return mapped(text({ value: "…", ...spec }), (value) => {
    const targets = parseTargets(value);
    if (typeof targets === "string") return targets;
    if (targets.length > 0) return [...targets];
    throw new RandloraError("usage", `--targets ${value}: no name among the commas`);
  });
}

/** `--basis-seed`: decimal digits, −2^63 … 2^64 − 1. */
export function basisSeedOption(spec: OptionSpec): Option<string | undefined> {
  return mapped(text(spec), (value) => {
    const seed = /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined;
    if (seed !== undefined && seed >= -(2n ** 63n) && seed < 2n ** 64n) return String(seed);
    throw new RandloraError("usage", `--basis-seed ${value}: not a whole number of 64 bits`);
  });
}

/** `--date`: a day. */
export function dateOption(spec: OptionSpec): Option<string | undefined> {
  return mapped(text({ value: "YYYY-MM-DD", ...spec }), (value) => {
    dateOf(value);
    return value;
  });
}

function parseLayers(value: string): number[] {
  const layers = new Set<number>();
  for (const part of value.split(",")) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1] ?? Number.NaN), Number(match?.[2] ?? match?.[1] ?? Number.NaN)];
    if (!(first <= last)) {
      const written = part === "" ? "an empty part" : part;
      throw new RandloraError("usage", `--layers ${value}: ${written} is no layer or range`, "write 0-11,20");
    }
    for (let layer = first; layer <= last; layer++) layers.add(layer);
  }
  return [...layers].toSorted((a, b) => a - b);
}
