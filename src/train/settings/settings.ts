import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import type { TrainedMethod } from "../../adapters/method/method.ts";
import { METHODS, type MethodSettings } from "../../adapters/methods.ts";
import { ADAPTER_SETTINGS, type AdapterSettings } from "../../adapters/method/settings.ts";
import { brief, oneLine, quote } from "../../files/failure.ts";
import { SAMPLE_FORMATS } from "../../data/text/samples/types.ts";
import type { Option } from "../../terminal/options/option.ts";
import { IMAGE_OPTIONS } from "./image-options.ts";
import { RUN_OPTIONS } from "./options.ts";
import type { Recorded, Setting, Settings } from "./setting.ts";

/** What run.json may hold of a part of the table: what the flags take, and the usual values. */
function entriesOf(settings: Settings): v.ObjectEntries {
  return Object.fromEntries(Object.entries(settings).map(([key, option]) => [key, schemaOfSetting(option)]));
}

function schemaOfSetting(option: Setting): v.GenericSchema | v.OptionalSchema<v.GenericSchema, unknown> {
  const { usual, orNull, earlier } = option.rule;
  const value = valueOf(option);
  // `--early-stop` takes 1 and more; 0, never, is what it is without.
  const more = typeof usual === "number" && !v.is(value, usual) ? v.union([value, v.literal(usual)]) : value;
  const all = usual === null || orNull === true ? v.nullable(more) : more;
  return earlier === undefined ? all : v.optional(all, earlier);
}

function valueOf({ kind, choices }: Option<unknown>): v.GenericSchema {
  const { type, min = -Infinity, max = Infinity, above = -Infinity, length = 0 } = kind;
  const number = v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max), v.gtValue(above));
  switch (type) {
    case "flag":
      return v.boolean();
    case "choice":
      return v.picklist(choices);
    case "number":
      return number;
    case "integer":
      return v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));
    case "numbers":
      return v.pipe(v.array(number), v.length(length));
    case "text":
      return v.pipe(v.string(), v.minLength(1));
    case "json":
      return v.record(v.string(), v.unknown());
  }
}

// Every setting of a run, resolved: what run.json holds, and all that decides what a run computes beside the files that
// are named here.

const path = v.pipe(v.string(), v.minLength(1));
const commit = v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/));

/** Settings of methods that add to frozen weights: what all of them have, and what the run's own has. */
export type AllAdapterSettings = AdapterSettings & Partial<MethodSettings>;

const ownSettings = ({ training }: TrainedMethod): v.ObjectEntries =>
  training.result === "adapter" ? training.settings : {};

/** Earlier versions wrote the settings of every method: those that the run's has not are left out. */
const adapterSchema = (method: TrainedMethod | undefined) => {
  const entries: v.ObjectEntries = { ...ADAPTER_SETTINGS, ...(method && ownSettings(method)) };
  const foreign = new Set(
    METHODS.flatMap((other) => Object.keys(ownSettings(other))).filter((key) => !(key in entries)),
  );
  const dropForeign = v.transform((value: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(Object.entries(value).filter(([key]) => !foreign.has(key))),
  );
  return v.nullable(v.pipe(v.record(v.string(), v.unknown()), dropForeign, v.strictObject(entries)));
};

/** What the table of options does not say: what is found when a run begins, and the settings of several flags. */
const FOUND = {
  /** The commit of a name on the Hub: what a resumed run takes, whatever was pushed since. */
  commit: v.optional(v.nullable(commit), null),
  /** How the samples were written out; null: images, and runs of earlier versions, which did not record it. */
  sampleFormat: v.optional(v.nullable(v.picklist(SAMPLE_FORMATS)), null),
  /** `--no-shuffle`. */
  shuffle: v.boolean(),
} as const;

const schemaOf = (method: unknown) =>
  v.strictObject({
    /** A folder, or a name on the Hub. */
    model: path,
    method: v.picklist(METHODS.map(({ name }) => name)),
    adapter: adapterSchema(METHODS.find(({ name }) => name === method)),
    /** Null: texts. Earlier versions knew nothing else. */
    images: v.optional(v.nullable(v.strictObject(entriesOf(IMAGE_OPTIONS))), null),
    ...FOUND,
    ...entriesOf(RUN_OPTIONS),
  });

type Found = Readonly<v.InferOutput<v.StrictObjectSchema<typeof FOUND, undefined>>>;

/** Of images, and of the task on them. */
export type ImageSettings = Recorded<typeof IMAGE_OPTIONS>;

export type TrainSettings = Recorded<typeof RUN_OPTIONS> &
  Found & {
    readonly model: string;
    readonly method: string;
    /** Null for a method that has no adapter. */
    readonly adapter: AllAdapterSettings | null;
    /** Null with texts. */
    readonly images: ImageSettings | null;
  };

/** Settings by name, the adapter's and the images' among them: as flags give them. */
export type FlatSettings = Omit<TrainSettings, "adapter" | "images"> & AllAdapterSettings & ImageSettings;

/** All settings in one record. */
export function flatSettings({ adapter, images, ...rest }: TrainSettings): Partial<FlatSettings> {
  return { ...rest, ...adapter, ...images };
}

/** What run.json holds: `learningRate` becomes `learning_rate`. */
export function formatSettings(settings: TrainSettings): Readonly<Record<string, unknown>> {
  const { adapter, images } = settings;
  return renamed({ ...settings, adapter: adapter && renamed(adapter), images: images && renamed(images) });
}

function renamed(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [keyName(key), value]));
}

/** `learningRate` → `learning_rate`. */
function keyName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * Reads what {@link formatSettings} made. `file` is named in errors.
 * @throws RandloraError `format` naming the key
 */
export function parseTrainSettings(json: unknown, file: string): TrainSettings {
  const camel = (value: unknown): unknown =>
    typeof value !== "object" || value === null || Array.isArray(value)
      ? value
      : Object.fromEntries(
          Object.entries(value).map(([key, inner]) => [
            key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
            camel(inner),
          ]),
        );
  const settings = camel(json);
  const method =
    typeof settings === "object" && settings !== null && "method" in settings ? settings.method : undefined;
  const result = v.safeParse(schemaOf(method), settings);
  // The schema is made from what the type is made from; the entries of every method are among those of MethodSettings.
  if (result.success) return result.output as unknown as TrainSettings;
  const [issue] = result.issues;
  const key = (v.getDotPath(issue) ?? "").split(".").map(keyName).join(".");
  const hint = "the file was changed, or another version of randlora wrote it: start a new run";
  throw new RandloraError("format", `${oneLine(file)}: ${quote(key)}: ${brief(issue.message)}`, hint);
}

/** How a setting is called on the command line. `value`: the one that was given there. */
export function flagOf(key: string, value?: unknown): string {
  if (key === "model") return "MODEL";
  if (key === "sparsity" && value === "dense") return "--no-sparse";
  if (key === "sparsity") return typeof value === "string" ? `--${value}` : "--sparse or --very-sparse";
  if (key === "shuffle") return value === true ? "--shuffle" : "--no-shuffle";
  const isNegated = value === false && key !== "projections";
  return `--${isNegated ? "no-" : ""}${keyName(key).replaceAll("_", "-")}`;
}

/** The options that decide a setting. */
export function optionsOf(key: string): readonly string[] {
  if (key === "sparsity") return ["sparse", "verySparse"];
  return [key === "shuffle" ? "noShuffle" : key];
}

/** Whether a flag was turned off (`--no-dora`, `--no-sparse`): where nothing has it, that contradicts nothing. */
export function isOff(value: unknown): boolean {
  return value === false || value === "dense";
}

/** A setting as it was given on the command line: `--rank 8`, `--sparse`. */
export function asGiven(key: string, value: unknown): string {
  const isFlag = key === "sparsity" || (typeof value === "boolean" && key !== "projections");
  return isFlag ? flagOf(key, value) : `${flagOf(key)} ${inWords(key, value)}`;
}

/** The value of a setting for a sentence such as "the run has …". */
export function inWords(key: string, value: unknown): string {
  if (key === "projections") return value === true ? "yes" : "no";
  if (key === "sparsity") return `${String(value)} bases`;
  if (key === "shuffle" || value === true) return flagOf(key, value);
  if (value === null || value === undefined || value === false) return "none";
  if (!Array.isArray(value)) return String(value);
  if (value.length === 0) return "all";
  return value.length <= 8 ? value.join(",") : `${value.slice(0, 6).join(",")} and ${value.length - 6} more`;
}

/** Lists of names and of layers are sets: PEFT writes them in any order. */
const SETS: ReadonlySet<keyof FlatSettings> = new Set(["targets", "layers"] as const);

/** Do both values of a setting mean the same? */
export function same(key: keyof FlatSettings, a: unknown, b: unknown): boolean {
  const sorted = (value: unknown) => (Array.isArray(value) && SETS.has(key) ? value.toSorted() : value);
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** What an adapter to go on from (`--init-adapter`) decides of a run. */
export type InitialSettings = Partial<AllAdapterSettings> &
  Pick<TrainSettings, "method"> & {
    /** Of images, where it was trained with one. */
    readonly head?: "linear" | "cls";
  };
