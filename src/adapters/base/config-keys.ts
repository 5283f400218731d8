import * as v from "valibot";
import { GENERATOR_NAMES } from "../../compute/random/names.ts";
import { PythonRegex } from "../../data/text/regex/python/regex.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { keysInOrder } from "../../files/lossless-json.ts";
import type { TargetRules } from "./targets.ts";

// Schemas for configuration files, with messages that read well after `"key" is VALUE: `.

export const positiveInteger = v.pipe(
  v.number("it must be a positive integer"),
  v.safeInteger("it must be a positive integer"),
  v.minValue(1, "it must be a positive integer"),
);

export const finiteNumber = v.pipe(v.number("it must be a number"), v.finite("it must be a finite number"));

export const text = v.string("it must be a string");

/** `null` counts as "not given", as in Python. */
export const flag = v.nullish(v.boolean("it must be true or false"), false);

const DROPOUT = "it must be a number from 0 to 1";
export const dropoutShare = v.nullish(v.pipe(v.number(DROPOUT), v.minValue(0, DROPOUT), v.maxValue(1, DROPOUT)), 0);

const KEY = "it must be an integer from −2^63 to 2^64 − 1";
/** `projection_prng_key`. */
export const prngKey = v.pipe(
  v.union([v.pipe(v.number(KEY), v.safeInteger(KEY)), v.bigint(KEY)], KEY),
  v.transform((value: number | bigint) => BigInt(value)),
  v.minValue(-(2n ** 63n), KEY),
  v.maxValue(2n ** 64n - 1n, KEY),
);

export const textList = v.array(v.string("it must hold strings"), "it must be a list of strings");

const LAYERS = "it must be a layer's index or a list of them";
const layerIndices = v.union(
  [
    v.pipe(
      v.pipe(v.number(LAYERS), v.safeInteger(LAYERS)),
      v.transform((index) => [index]),
    ),
    v.array(v.pipe(v.number(LAYERS), v.safeInteger(LAYERS)), LAYERS),
  ],
  LAYERS,
);

/** Names, or one string with a meaning of its own (a regular expression, `all-linear`). */
const textOrList = v.union([text, textList], "it must be a string or a list of strings");

/** What the configuration of every method that adapts layers says. */
export interface LayerSettings {
  /** Weights are stored (in, out), as GPT-2's Conv1D does. */
  readonly fanInFanOut: boolean;
  /** Modules that are stored whole beside the adapter. */
  readonly modulesToSave: readonly string[];
  /** Biases are trained, too. */
  readonly bias: boolean;
  readonly targets: TargetRules;
}

/** Its keys (peft/tuners/tuners_utils.py and each method's config.py). */
export const LAYER_KEYS = {
  fan_in_fan_out: flag,
  modules_to_save: v.nullish(textList),
  target_modules: v.nullish(textOrList),
  exclude_modules: v.nullish(textOrList),
  layers_to_transform: v.nullish(layerIndices),
  layers_pattern: v.nullish(textOrList),
  task_type: v.nullish(text),
};

/** Which biases are trained; `own`: PEFT's name for those of adapted layers. */
export function biasKey<O extends string>(own: O) {
  return v.nullish(v.picklist(["none", "all", own], `it must be "none", "all" or "${own}"`), "none");
}

/** What those keys mean. `file` is named in errors. */
export function layerSettings(
  read: v.InferOutput<v.ObjectSchema<typeof LAYER_KEYS, undefined>> & { readonly bias?: string },
  file: string,
): LayerSettings {
  const modulesToSave = read.modules_to_save ?? [];
  return {
    fanInFanOut: read.fan_in_fan_out,
    modulesToSave,
    bias: read.bias !== undefined && read.bias !== "none",
    targets: {
      modules: read.target_modules ?? null,
      exclude: read.exclude_modules ?? [],
      modulesToSave,
      layers: read.layers_to_transform ?? [],
      layersPattern: typeof read.layers_pattern === "string" ? [read.layers_pattern] : (read.layers_pattern ?? []),
      file,
    },
  };
}

/**
 * `value` as `schema` understands it. Throws `RandloraError` "format" naming `file`, the key, what it holds and what it
 * must be.
 */
export function parseSettings<S extends v.GenericSchema>(schema: S, value: unknown, file: string): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const key = v.getDotPath(issue) ?? "";
  // The schema's own words for a key that is not there name the library's types.
  const found = issue.input === undefined ? "is missing" : `is ${show(issue.input)}: ${issue.message}`;
  const hint = "the file must be as PEFT writes it";
  throw new RandloraError("format", `${oneLine(file)}: ${quote(key)} ${found}`, hint);
}

function show(value: unknown): string {
  // JSON has no infinity: 1e400 would be shown as null.
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  if (typeof value === "string") return quote(value);
  const json = JSON.stringify(value, (_, item: unknown) => (typeof item === "bigint" ? String(item) : item));
  return json.length > 100 ? `${json.slice(0, 100)}…` : json;
}

const SHA = "it must be a SHA-256 in hexadecimal";
/** A fingerprint. */
export const sha256 = v.pipe(v.string(SHA), v.regex(/^[0-9a-fA-F]{64}$/, SHA), v.toLowerCase());

/** A dimension of the shape that bases were drawn at. */
export const drawnDimension = v.pipe(positiveInteger, v.maxValue(2 ** 31, "it must be at most 2^31"));

/** What every method's record of its bases has (`bases` of adapter.json). */
export const RECORD_KEYS = {
  generator: v.picklist(GENERATOR_NAMES, `it must be one of ${GENERATOR_NAMES.join(", ")}`),
  dtype: v.picklist(["f32", "bf16", "f16"], 'it must be "f32", "bf16" or "f16"'),
  sha256: v.object({ a: sha256, b: sha256 }, "it must hold the hashes a and b"),
};

/** Values of single modules, by a regular expression for the end of a module's path, in order: the first that matches holds. */
export type Pattern = readonly (readonly [pattern: PythonRegex, value: number])[];

/** That of a module, by its path in the base model. */
export function matchedPattern(pattern: Pattern, module: string): number | undefined {
  return pattern.find(([regex]) => regex.match(module) !== undefined)?.[1];
}

/** PEFT's get_pattern_key (utils/other.py): the expression of a key. */
const usualExpression = (key: string): string => String.raw`(.*\.)?(${key})$`;

/** What a setting says of them. @throws RandloraError `format` */
export function readPattern(
  settings: Readonly<Record<string, unknown>>,
  key: string,
  value: v.GenericSchema<number>,
  file: string,
  expressionOf = usualExpression,
): Pattern {
  const { [key]: written } = settings;
  const schema = v.nullish(v.record(v.string(), value, "it must be an object from module names to numbers"), {});
  const checked = parseSettings(v.object({ [key]: schema }), { [key]: written }, file)[key] ?? {};
  // What was checked is a copy, which does not keep the order of keys.
  const keys = typeof written === "object" && written !== null ? keysInOrder(written) : [];
  return keys.flatMap((one) => {
    const found = checked[one];
    return found === undefined ? [] : [[new PythonRegex(expressionOf(one), file), found] as const];
  });
}
