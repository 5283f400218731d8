import * as v from "valibot";
import { basename } from "node:path";
import { METHOD_NAMES } from "../../adapters/method-names.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { methodNamed } from "../../adapters/methods.ts";
import { filesAt } from "../../data/records/data-files.ts";
import { isCommit } from "../../files/hub/name.ts";
import { loadConfig, SUPPORTED_TYPES } from "../../models/decoder/architectures/index.ts";
import { readConfigOf } from "../../models/decoder/config-file.ts";
import { EMBEDDED, hubNameOf, locateModel, type ModelLocation, type Recorded } from "../../models/folder/locate.ts";
import { localPath, refuseMissingModel } from "../../models/folder/local-path.ts";
import { IMAGE_TYPES, readImageConfig } from "../../models/vision/index.ts";
import type { Context } from "../../terminal/options/command.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { readShapes } from "../../adapters/base/named-base.ts";
import type { FinetuneOptions } from "../settings/options.ts";
import { placeOf } from "../settings/readers.ts";
import { type ModelFacts, resolveSettings } from "../settings/resolve-settings.ts";
import type { FlatSettings, TrainSettings } from "../settings/settings.ts";

/** What a run's settings name, on this machine. */
export interface RunSources {
  readonly location: ModelLocation;
  /** The settings with paths for names on the Hub. */
  readonly local: TrainSettings;
}

/**
 * The settings that were asked for: what was not given is undefined.
 *
 * @throws {RandloraError} `usage` for combinations that make no sense
 */
export function askedSettings(model: string | undefined, options: FinetuneOptions): Partial<FlatSettings> {
  const { out: _out, resume: _resume, dryRun: _dryRun, noShuffle, sparse, verySparse, ...settings } = options;
  if (sparse && verySparse) {
    const cause = "--sparse and --very-sparse: bases are one or the other";
    throw new Contradiction(["sparse", "verySparse"], cause, "give one of them");
  }
  return given({
    ...settings,
    model: model && placeOf(model),
    shuffle: noShuffle === undefined ? undefined : !noShuffle,
    sparsity: sparsityOf(sparse, verySparse),
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
  const isEmbedded = flags.model === undefined && flags.data === undefined;
  const { location, named, facts } = await lookUp(isEmbedded ? EMBEDDED_RUN : flags, context);
  const adapter = flags.initAdapter && (await localPath({ name: flags.initAdapter, commit: null }, "adapter", context));
  const init = adapter ? await initialSettings(adapter, flags) : undefined;
  const { training } = methodNamed(flags.method ?? init?.method ?? METHOD_NAMES[0]);
  const usual = training.result === "adapter" ? training.usual : undefined;
  const asked = isEmbedded ? embeddedRun(flags, usual?.learningRate ?? 0) : flags;
  const wanted = usual ? usual.rankFits && (asked.rank ?? init?.rank) === undefined : asked.learningRate === undefined;
  const shapes = wanted ? await readShapes(location) : undefined;
  const initCommit = asked.initAdapter && adapter ? commitOf(asked.initAdapter, adapter) : null;
  return resolveSettings({ ...asked, ...named, initCommit }, { ...facts, shapes, init });
}

/** What the model and the clock say of a new run. */
export interface LookedUp {
  readonly location: ModelLocation;
  /** What is to be trained, as the run records it. */
  readonly named: Pick<FlatSettings, "model" | "data" | "commit">;
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
    refuseMissingModel({ name: model, commit: null });
    const own =
      model === EMBEDDED ? "; without MODEL the embedded model is trained on the data that comes with it" : "";
    throw new RandloraError("usage", "--data is missing", `name the file or folder to train on${own}`);
  }
  // Known before a model is fetched.
  if (hubNameOf({ name: model, commit: null }) !== undefined && data !== EMBEDDED) await filesAt(data);
  if (model === EMBEDDED && data !== EMBEDDED) {
    context.log.warn("the embedded model knows few words beyond its own data: for other data name another model");
  }
  const location = await locate({ name: model, commit: null }, context);
  const facts = await describeModel(location);
  const named = { model, data, commit: commitOf(model, location.folder) };
  return { location, named, facts };
}

/** The commit whose files lie in `folder`, where `name` is one on the Hub. */
function commitOf(name: string, folder: string): string | null {
  return hubNameOf({ name, commit: null }) !== undefined && isCommit(basename(folder)) ? basename(folder) : null;
}

/** Finds what settings name; what the Hub has is fetched. @throws {RandloraError} `file` when something is not there */
export async function findSources(settings: TrainSettings, context: Context): Promise<RunSources> {
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
  return await locateModel(await localPath(model, "model", context));
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

const Kind = v.looseObject({ model_type: v.string() });

/**
 * What a model says of a run's defaults, by its config.json and the headers of its weights.
 * @throws RandloraError `file`, `format`; `model` for one that cannot be run
 */
async function describeModel(
  location: ModelLocation,
): Promise<Pick<ModelFacts, "modelType" | "contextLength" | "images">> {
  const { folder } = location;
  const { model_type: modelType } = await readConfigOf(folder, [...SUPPORTED_TYPES, ...IMAGE_TYPES], Kind);
  if (!IMAGE_TYPES.includes(modelType)) {
    const { contextLength } = await loadConfig(folder);
    return { modelType, contextLength };
  }
  const { text, projections } = await readImageConfig(location);
  return { modelType, images: { texts: text !== undefined && projections !== undefined } };
}
