import { METHOD_NAMES, USUALLY_COMPARED } from "../../adapters/method-names.ts";
import type { LikeWish } from "./plan.ts";
import type { Wish } from "./types.ts";
import { RandloraError } from "../../files/errors.ts";
import { number } from "../../terminal/options/command.ts";
import { flagName } from "../../terminal/options/names.ts";
import { nearest } from "../../files/nearest.ts";
import { absentValues, type Option } from "../../terminal/options/option.ts";
import { InvalidValue } from "../../terminal/options/values.ts";
import type { FlatSettings } from "../../train/settings/settings.ts";
import { type CompareOptions, METHOD_FLAGS } from "./options.ts";
import { FINETUNE_OPTIONS } from "../../train/settings/options.ts";
import { askedSettings } from "../../train/command/settings.ts";

const RATE = number({ help: "", min: 0 });

/** What `randlora finetune` gets where nothing is given. */
const NOTHING_GIVEN = absentValues(FINETUNE_OPTIONS);

/** The settings that all runs share. @throws {RandloraError} `usage` as `askedSettings` */
export function commonSettings(model: string | undefined, options: CompareOptions): Partial<FlatSettings> {
  const { methods: _methods, params: _params, like: _like, seeds: _seeds, forgetting: _tokens, ...rest } = options;
  const { learningRate: _rates, out: _out, resume: _resume, dryRun: _dry, job: _job, jobs: _jobs, ...common } = rest;
  return askedSettings(model, { ...NOTHING_GIVEN, ...common });
}

/**
 * The methods that are compared, with their learning rates.
 * @throws {RandloraError} `usage` for a name or flag that there is not, with the nearest one; for a method that is there twice
 */
export function readWishes({ methods, learningRate }: Pick<CompareOptions, "methods" | "learningRate">): Wish[] {
  const specs = (methods ?? USUALLY_COMPARED).map((text) => readMethod(text, "--methods"));
  const labels = specs.map(({ label }) => label);
  const twice = labels.find((label, at) => labels.indexOf(label) < at);
  if (twice !== undefined) {
    throw new RandloraError("usage", `--methods: ${twice} is there twice`, "more runs of each method: --seeds N");
  }
  const rates = readRates(learningRate, specs);
  return specs.map((spec) => ({ ...spec, learningRate: rates.get(spec.label) }));
}

/** `METHOD:RANK`, or a method alone: at its usual size. @throws {RandloraError} `usage` */
export function readLike(text: string): LikeWish {
  const [name = "", size, ...rest] = text.split(":");
  if (rest.length > 0 || (size !== undefined && !/^[1-9]\d{0,8}$/.test(size))) {
    const cause = `--like ${text}: not a method, a colon and its rank`;
    throw new RandloraError("usage", cause, `write ${METHOD_NAMES[0]}:8`);
  }
  const wish = { ...readMethod(name, "--like"), learningRate: undefined };
  return { wish, size: size === undefined ? undefined : Number(size) };
}

/** `METHOD+FLAG+FLAG=VALUE`. */
function readMethod(text: string, source: string): Omit<Wish, "learningRate"> {
  const [name = "", ...flags] = text.split("+");
  const method = METHOD_NAMES.find((one) => one === name);
  if (method === undefined) {
    const near = nearest(name, METHOD_NAMES);
    const hint = near === undefined ? `one of: ${METHOD_NAMES.join(", ")}` : `did you mean ${near}?`;
    throw new RandloraError("usage", `${source}: ${JSON.stringify(name)} is no method`, hint);
  }
  const given = Object.fromEntries(flags.map((flag) => readFlag(flag, `${source} ${text}`)));
  return { label: text, method, flags: askedSettings(undefined, { ...NOTHING_GIVEN, ...given }) };
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

/**
 * Learning rates by label: those of a listed method win over those of the bare method, and these over one for all.
 * @throws {RandloraError} `usage` for what is no rate, and for one of no listed method
 */
export function readRates(
  texts: readonly string[],
  specs: readonly Pick<Wish, "label" | "method">[],
): ReadonlyMap<string, number> {
  const rates = new Map<string, number>();
  const named = texts.map((text) => {
    const at = text.lastIndexOf("=");
    const value = readValue(RATE, text.slice(at + 1), "--learning-rate");
    return { name: at < 0 ? undefined : text.slice(0, at), rate: Number(value) };
  });
  const names = specs.flatMap(({ label, method }) => [label, method]);
  const unknown = named.find(({ name }) => name !== undefined && !names.includes(name))?.name;
  if (unknown !== undefined) {
    const near = nearest(unknown, names);
    const hint =
      near === undefined ? `compared are ${specs.map(({ label }) => label).join(", ")}` : `did you mean ${near}?`;
    throw new RandloraError("usage", `--learning-rate: ${JSON.stringify(unknown)} is not compared`, hint);
  }
  for (const { label, method } of specs) {
    for (const wanted of [undefined, method, label]) {
      const found = named.findLast(({ name }) => name === wanted);
      if (found !== undefined) rates.set(label, found.rate);
    }
  }
  return rates;
}
