import { methodNamed } from "../../adapters/methods.ts";
import { METHOD_NAMES, USUALLY_COMPARED } from "../../adapters/method-names.ts";
import type { LikeWish } from "./plan.ts";
import { type Comparison, familyOf, formatLabel, parseLabel, type Wish } from "./types.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { number } from "../../terminal/options/command.ts";
import { flagName } from "../../terminal/options/names.ts";
import { nearest } from "../../files/nearest.ts";
import { absentValues, type Option } from "../../terminal/options/option.ts";
import { InvalidValue } from "../../terminal/options/values.ts";
import type { FlatSettings } from "../../train/settings/settings.ts";
import { type CompareOptions, METHOD_FLAGS } from "./options.ts";
import { FINETUNE_OPTIONS } from "../../train/settings/options.ts";
import { ADAPTER_OPTIONS } from "../../train/settings/adapter-options.ts";
import { askedSettings } from "../../train/command/settings.ts";

const RATE = number({ help: "", min: 0 });

/** What `randlora finetune` gets where nothing is given. */
const NOTHING_GIVEN = absentValues(FINETUNE_OPTIONS);

/** The settings that all runs share. @throws {RandloraError} `usage` as `askedSettings` */
export function commonSettings(model: string | undefined, options: CompareOptions): Partial<FlatSettings> {
  const { methods: _methods, params: _params, like: _like, seeds: _seeds, forgetting: _tokens, ...rest } = options;
  const { learningRate: _rates, alpha: _alphas, out: _out, resume: _resume, dryRun: _dry, ...more } = rest;
  const { job: _job, jobs: _jobs, ...common } = more;
  return askedSettings(model, { ...NOTHING_GIVEN, ...common });
}

/** What is swept: values that make a contender each. */
type Swept = Pick<CompareOptions, "learningRate" | "alpha">;

/**
 * The methods that are compared, with their learning rates: METHOD@RATE and METHOD@alpha=A where there are several.
 * @throws {RandloraError} `usage` for a name or flag that there is not, with the nearest one; for a method that is there twice
 */
export function readWishes({ methods, ...swept }: Pick<CompareOptions, "methods"> & Swept): Wish[] {
  const specs = (methods ?? USUALLY_COMPARED).map((text) => readMethod(text, "--methods"));
  const { rates, alphas } = readSwept(swept, specs);
  const wishes = specs.flatMap((spec) =>
    several(rates.get(spec.label)).flatMap((rate, _, { length: ofRates }) =>
      several(alphas.get(spec.label)).map((alpha, _, { length: ofAlphas }): Wish => {
        const label = {
          ...parseLabel(spec.label),
          ...(ofRates > 1 && { rates: [rateText(rate ?? NaN)] }),
          ...(ofAlphas > 1 && { alphas: [String(alpha)] }),
        };
        return {
          ...spec,
          label: formatLabel(label),
          flags: { ...spec.flags, ...(alpha === undefined ? {} : { alpha }) },
          learningRate: rate ?? spec.learningRate,
        };
      }),
    ),
  );
  const labels = wishes.map(({ label }) => label);
  const twice = labels.find((label, at) => labels.indexOf(label) < at);
  if (twice === undefined) return wishes;
  throw new RandloraError("usage", `--methods: ${twice} is there twice`, "more runs of each method: --seeds N");
}

/** One contender without a value of its own, where none was given. */
function several(values: readonly number[] | undefined): readonly (number | undefined)[] {
  return values ?? [undefined];
}

function rateText(rate: number): string {
  return rate > 0 && rate < 0.01 ? rate.toExponential() : String(rate);
}

/** `METHOD:RANK`, or a method alone: at its usual size. @throws {RandloraError} `usage` */
export function readLike(text: string): LikeWish {
  const [name = "", size, ...rest] = text.split(":");
  if (rest.length > 0 || (size !== undefined && !/^[1-9]\d{0,8}$/.test(size))) {
    const cause = `--like ${text}: not a method, a colon and its rank`;
    throw new RandloraError("usage", cause, `write ${METHOD_NAMES[0]}:8`);
  }
  const wish = readMethod(name, "--like");
  return { wish, size: size === undefined ? undefined : Number(size) };
}

/** `METHOD+FLAG+FLAG=VALUE@RATE@alpha=A`. */
function readMethod(text: string, source: string): Wish {
  const { family, ...swept } = parseLabel(text);
  const [name = "", ...flags] = family.split("+");
  const method = METHOD_NAMES.find((one) => one === name);
  if (method === undefined) {
    const near = nearest(name, METHOD_NAMES);
    const hint = near === undefined ? `one of: ${METHOD_NAMES.join(", ")}` : `did you mean ${near}?`;
    throw new RandloraError("usage", `${source}: ${JSON.stringify(name)} is no method`, hint);
  }
  const given = Object.fromEntries(flags.map((flag) => readFlag(flag, `${source} ${text}`)));
  const [rates, alphas] = [
    swept.rates.map((one) => Number(readValue(RATE, one, `${source} ${text}`))),
    swept.alphas.map((one) => Number(readValue(ADAPTER_OPTIONS.alpha, one, `${source} ${text}`))),
  ];
  if (rates.length > 1 || alphas.length + Number("alpha" in given) > 1) {
    const cause = `${source} ${text}: two ${rates.length > 1 ? "learning rates" : "values of alpha"}`;
    throw new RandloraError("usage", cause, "list a method once for each value");
  }
  const [learningRate, alpha] = [rates[0], alphas[0]];
  const label = formatLabel({ family, rates: rates.map(rateText), alphas: alphas.map(String) });
  const own = { ...NOTHING_GIVEN, ...given, ...(alpha === undefined ? {} : { alpha }) };
  return { label, method, flags: askedSettings(undefined, own), learningRate };
}

/** A flag of a method: a boolean one's name, the name and a value, or a value of a choice alone. */
function readFlag(text: string, source: string): [key: string, value: unknown] {
  const [name = "", ...rest] = text.split("=");
  const value = rest.length === 0 ? undefined : rest.join("=");
  const all = Object.entries(METHOD_FLAGS);
  const named = all.find(([key]) => flagName(key) === name);
  if (named !== undefined) {
    const [key, option] = named;
    if (option.form !== "flag" && value === undefined) {
      throw new RandloraError("usage", `${source}: ${name} needs a value`, `write ${name}=${option.value}`);
    }
    return [key, readValue(option, value ?? "true", `${source}: ${name}`)];
  }
  const valued = value === undefined ? all.filter(([, { choices }]) => choices.includes(name)) : [];
  const [only, other] = valued;
  if (only !== undefined && other === undefined) return [only[0], only[1].read([name])];
  const words = all.flatMap(([key, { choices }]) => [flagName(key), ...choices]);
  const near = nearest(name, words);
  const hint =
    near === undefined ? `flags are those of finetune for methods: ${words.join(", ")}` : `did you mean ${near}?`;
  const meanings = valued.map(([key]) => `${flagName(key)}=${name}`).join(" or ");
  if (meanings !== "") throw new RandloraError("usage", `${source}: ${name} has two meanings`, `write ${meanings}`);
  throw new RandloraError("usage", `${source}: no flag of a method is called ${JSON.stringify(name)}`, hint);
}

function readValue(option: Option<unknown>, text: string, source: string): unknown {
  try {
    return option.read([text]);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new RandloraError("usage", `${source}: ${JSON.stringify(text)} ${error.message}`, error.hint);
  }
}

/** A method as listed, or as recorded. */
type Spec = Pick<Wish, "label" | "method"> & Partial<Wish>;

/** The methods of a comparison. A value in a label is the method's own where its family has no other; a sweep has several. */
export function recordedSpecs(contenders: Comparison["contenders"]): Spec[] {
  const families = [...new Set(contenders.map(({ label }) => label))].map(familyOf);
  return contenders.map(({ label, settings: { method } }) => {
    const { family, rates, alphas } = parseLabel(label);
    if (families.indexOf(family) !== families.lastIndexOf(family)) return { label, method };
    const [learningRate, alpha] = [rates, alphas].map(([own]) => (own === undefined ? undefined : Number(own)));
    return { label, method, learningRate, flags: alpha === undefined ? {} : { alpha } };
  });
}

/** The values of `--learning-rate` and `--alpha` by label. @throws {RandloraError} `usage` as {@link readValues} */
export function readSwept(
  { learningRate, alpha }: Swept,
  specs: readonly Spec[],
): { readonly rates: ReadonlyMap<string, readonly number[]>; readonly alphas: ReadonlyMap<string, readonly number[]> } {
  const hasAlpha = (name: string) => {
    const { training } = methodNamed(name);
    return training.result === "adapter" && training.usual.alphaPerRank !== null;
  };
  return {
    rates: readValues(learningRate, specs, "learningRate", RATE, () => true),
    alphas: readValues(alpha, specs, "alpha", ADAPTER_OPTIONS.alpha, hasAlpha),
  };
}

/**
 * Values by label, ascending: those of a listed method win over those of the bare method, and these over those for all. A
 * method with a value of its own (`lora@3e-4`) has none here.
 * @param isMeant does a value for all concern this method?
 * @throws {RandloraError} `usage` for what is no number, for one of no listed method, and where each has its own
 */
function readValues(
  texts: readonly string[],
  specs: readonly Spec[],
  key: keyof Swept,
  option: Option<unknown>,
  isMeant: (method: string) => boolean,
): ReadonlyMap<string, readonly number[]> {
  const flag = `--${flagName(key)}`;
  const found = new Map<string, readonly number[]>();
  const named = texts.map((text) => {
    const at = text.lastIndexOf("=");
    const values = text.slice(at + 1).split(",");
    const read = values.map((value) => Number(readValue(option, value.trim(), flag)));
    return { name: at < 0 ? undefined : text.slice(0, at), values: read };
  });
  const isOwn = ({ learningRate, flags }: Spec) => (key === "alpha" ? flags?.alpha : learningRate) !== undefined;
  const names = specs.flatMap(({ label, method }) => [label, familyOf(label), method]);
  const unknown = named.find(({ name }) => name !== undefined && !names.includes(name))?.name;
  if (unknown !== undefined) {
    const near = nearest(unknown, names);
    const hint =
      near === undefined ? `compared are ${specs.map(({ label }) => label).join(", ")}` : `did you mean ${near}?`;
    throw new RandloraError("usage", `${flag}: ${JSON.stringify(unknown)} is not compared`, hint);
  }
  for (const { name } of named) {
    const meant = specs.filter(({ label, method }) =>
      name === undefined ? isMeant(method) : [label, familyOf(label), method].includes(name),
    );
    if (meant.length === 0 || !meant.every(isOwn)) continue;
    const cause = `${flag} and --methods ${meant.map(({ label }) => label).join(",")}: both say a value`;
    throw new Contradiction(["methods", key], cause, "give one of them");
  }
  for (const { label, method } of specs.filter((spec) => !isOwn(spec))) {
    for (const wanted of [undefined, method, familyOf(label), label]) {
      // An option that is repeated lists as one of several values does.
      const own = named.filter(({ name }) => name === wanted && (name !== undefined || isMeant(method)));
      const values = new Set(own.flatMap((one) => one.values));
      if (values.size > 0)
        found.set(
          label,
          [...values].toSorted((a, b) => a - b),
        );
    }
  }
  return found;
}
