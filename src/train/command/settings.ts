import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parseTargets } from "../../adapters/base/targets.ts";
import { METHOD_NAMES } from "../../adapters/method-names.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { isCommit, parseHubName } from "../../files/hub/name.ts";
import { EMBEDDED } from "../../models/folder/embedded-name.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { hubNameOf, type Recorded } from "../../models/folder/recorded.ts";
import type { Context } from "../../terminal/options/command.ts";
import { TEMPLATE_NAMES } from "../settings/image-choices.ts";
import type { ModelFacts } from "../settings/resolve-settings.ts";
import type { FlatSettings, TrainSettings } from "../settings/settings.ts";
import type { FinetuneOptions } from "./options.ts";

/** What a run's settings name, on this machine. */
export interface Places {
  readonly location: ModelLocation;
  /** The settings with paths for names on the Hub. */
  readonly local: TrainSettings;
}

/**
 * The settings that were asked for: what was not given is undefined.
 *
 * @throws {RandloraError} `usage` for values and combinations that make no sense
 */
export function askedSettings(model: string | undefined, options: FinetuneOptions): Partial<FlatSettings> {
  const { projections, out: _out, resume: _resume, dryRun: _dryRun, ...settings } = options;
  const {
    sparse,
    verySparse,
    noShuffle,
    basisSeed,
    betas,
    layers,
    targets,
    initAdapter,
    data,
    valid,
    templates,
    ...rest
  } = settings;
  if (sparse && verySparse) {
    const cause = "--sparse and --very-sparse: bases are one or the other";
    throw new Contradiction(["sparse", "verySparse"], cause, "give one of them");
  }
  if (basisSeed !== undefined && !isSeed(basisSeed)) {
    throw new RandloraError("usage", `--basis-seed ${basisSeed}: not a whole number of 64 bits`);
  }
  const [beta1, beta2] = betas ?? [];
  return given({
    ...rest,
    projections: projections && projections === "yes",
    model: model && placeOf(model),
    templates: templates === undefined || TEMPLATE_NAMES.includes(templates) ? templates : resolve(templates),
    shuffle: noShuffle === undefined ? undefined : !noShuffle,
    sparsity: sparsityOf(sparse, verySparse),
    basisSeed: basisSeed === undefined ? undefined : String(BigInt(basisSeed)),
    betas: beta1 === undefined || beta2 === undefined ? undefined : ([beta1, beta2] as [number, number]),
    layers: layers === undefined ? undefined : parseLayers(layers),
    targets: targets === undefined ? undefined : readTargets(targets),
    initAdapter: initAdapter && placeOf(initAdapter),
    data: data && resolve(data),
    valid: valid && resolve(valid),
  });
}

/**
 * What is trained where neither a model nor data are named: the model that this program carries, on the data that it
 * carries.
 */
export const EMBEDDED_RUN = { model: EMBEDDED, data: EMBEDDED, targets: "all-linear" } as const;
/** Its least learning rate: the usual ones are for models a thousand times as large. A method's larger one stays. */
export const EMBEDDED_RATE = 1e-3;

/** The default method has more parameters than by default, too. @param usualRate the method's learning rate */
function embeddedRun(flags: Partial<FlatSettings>, usualRate: number): Partial<FlatSettings> {
  const { targets, ...run } = EMBEDDED_RUN;
  const isDefault = flags.method === undefined || flags.method === METHOD_NAMES[0];
  const adapter = isDefault && flags.initAdapter === undefined ? { targets, rank: 8 } : {};
  return { ...run, learningRate: Math.max(EMBEDDED_RATE, usualRate), ...adapter, ...flags };
}

/**
 * All settings of a new run.
 *
 * @throws {RandloraError} `usage` where MODEL or data are missing, and as `resolveSettings`; what finding the model throws
 */
export async function newSettings(flags: Partial<FlatSettings>, context: Context): Promise<TrainSettings> {
  const { resolveSettings } = await import("../settings/resolve-settings.ts");
  const { initialSettings } = await import("../model/init-adapter.ts");
  const { methodNamed } = await import("../../adapters/methods.ts");
  const { readShapes } = await import("../settings/module-shapes.ts");
  const { localPath } = await import("../../models/folder/places.ts");
  const isEmbedded = flags.model === undefined && flags.data === undefined;
  const { location, named, facts } = await lookUp(isEmbedded ? EMBEDDED_RUN : flags, context);
  const adapter = flags.initAdapter && (await localPath({ name: flags.initAdapter, commit: null }, "adapter", context));
  const init = adapter ? await initialSettings(adapter, flags) : undefined;
  const { training } = methodNamed(flags.method ?? init?.method ?? METHOD_NAMES[0]);
  const usual = training.result === "adapter" ? training.usual : undefined;
  const asked = isEmbedded ? embeddedRun(flags, usual?.learningRate ?? 0) : flags;
  const shapes = usual?.rankFits && (asked.rank ?? init?.rank) === undefined ? await readShapes(location) : undefined;
  const initCommit = asked.initAdapter && adapter ? commitOf(asked.initAdapter, adapter) : null;
  return resolveSettings({ ...asked, ...named, initCommit }, { ...facts, shapes, init });
}

/** What the model and the clock say of a new run. */
export interface LookedUp {
  readonly location: ModelLocation;
  /** What is to be trained, as the run records it. */
  readonly named: Pick<FlatSettings, "model" | "data" | "commit" | "date">;
  readonly facts: Pick<ModelFacts, "modelType" | "contextLength" | "images">;
}

/** Finds the model. @throws {RandloraError} `usage` where MODEL or data are missing; what finding the model throws */
export async function lookUp({ model, data }: Partial<FlatSettings>, context: Context): Promise<LookedUp> {
  if (model === undefined)
    throw new RandloraError(
      "usage",
      "MODEL is missing",
      "name the model to fine-tune; `embedded` is the small one inside the program",
    );
  if (data === undefined) {
    const own = model === EMBEDDED ? "; without MODEL the embedded model learns from data of its own" : "";
    throw new RandloraError("usage", "--data is missing", `name the file or folder to train on${own}`);
  }
  const location = await locate({ name: model, commit: null }, context);
  const { describeModel } = await import("../model/describe-model.ts");
  const facts = await describeModel(location);
  const named = { model, data, commit: commitOf(model, location.folder), date: await now(facts) };
  return { location, named, facts };
}

/** Templates of texts may write a date. */
async function now({ images }: LookedUp["facts"]): Promise<string | null> {
  if (images !== undefined) return null;
  const { strftime } = await import("../../data/text/template/strftime.ts");
  return strftime(new Date(), "%FT%T");
}

/** The commit whose files lie in `folder`, where `name` is one on the Hub. */
function commitOf(name: string, folder: string): string | null {
  return hubNameOf({ name, commit: null }) !== undefined && isCommit(basename(folder)) ? basename(folder) : null;
}

/** Finds what settings name; what the Hub has is fetched. @throws {RandloraError} `file` when something is not there */
export async function placesOf(settings: TrainSettings, context: Context): Promise<Places> {
  const { localPath } = await import("../../models/folder/places.ts");
  const location = await locate({ name: settings.model, commit: settings.commit }, context);
  const { embeddedData } = await import("../../models/folder/embedded.ts");
  const data = settings.data === EMBEDDED ? await embeddedData() : settings.data;
  const { adapter } = settings;
  const initAdapter = adapter?.initAdapter
    ? await localPath({ name: adapter.initAdapter, commit: adapter.initCommit }, "adapter", context)
    : null;
  return { location, local: { ...settings, data, adapter: adapter && { ...adapter, initAdapter } } };
}

async function locate(model: Recorded, context: Context): Promise<ModelLocation> {
  const { locateModel } = await import("../../models/folder/locate.ts");
  const { localPath } = await import("../../models/folder/places.ts");
  return await locateModel(await localPath(model, "model", context));
}

/** A model or adapter as a run records it: absolute, or its name on the Hub or in this program. */
function placeOf(name: string): string {
  if (parseHubName(name) !== undefined) return name;
  return name === EMBEDDED && !existsSync(name) ? name : resolve(name);
}

/** `--no-sparse` and `--no-very-sparse` ask for dense bases, where the other one is not given. */
function sparsityOf(sparse: boolean | undefined, verySparse: boolean | undefined): FlatSettings["sparsity"] {
  if (sparse) return "sparse";
  if (verySparse) return "very-sparse";
  return sparse === false || verySparse === false ? "dense" : undefined;
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without what is undefined. */
export function given<T extends object>(values: T): Given<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  // Only keys whose value is undefined were left out.
  return Object.fromEntries(entries) as Given<T>;
}

function isSeed(value: string): boolean {
  if (!/^-?\d{1,20}$/.test(value)) return false;
  const seed = BigInt(value);
  return seed >= -(2n ** 63n) && seed < 2n ** 64n;
}

/** `--targets` as settings have it. @throws {RandloraError} `usage` for commas alone */
export function readTargets(value: string): string | string[] {
  const targets = parseTargets(value);
  if (typeof targets === "string") return targets;
  if (targets.length === 0) throw new RandloraError("usage", `--targets ${value}: no name among the commas`);
  return [...targets];
}

/** `0-11,20` as [0, 1, …, 11, 20]. @throws {RandloraError} `usage` */
export function parseLayers(value: string): number[] {
  const layers = new Set<number>();
  for (const part of value.split(",")) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1] ?? Number.NaN), Number(match?.[2] ?? match?.[1] ?? Number.NaN)];
    if (!(first <= last)) {
      throw new RandloraError(
        "usage",
        `--layers ${value}: ${part === "" ? "an empty part" : part} is no layer or range`,
        "write 0-11,20",
      );
    }
    for (let layer = first; layer <= last; layer++) layers.add(layer);
  }
  return [...layers].toSorted((a, b) => a - b);
}
