import { targetsOf } from "../../models/decoder/architectures/index.ts";
import { defaultTargets } from "../../adapters/base/targets.ts";
import { USUAL_DATE } from "../../data/text/samples/date.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import type { AdapterTraining, Capacity, ModuleShape, TrainedMethod } from "../../adapters/method/method.ts";
import { METHOD_NAMES } from "../../adapters/method-names.ts";
import { methodNamed, METHODS } from "../../adapters/methods.ts";
import { ADAPTER_SETTINGS } from "../../adapters/method/settings.ts";
import { DROPOUT_MICRO_BATCHES } from "../../adapters/method/training.ts";
import {
  type AllAdapterSettings,
  asGiven,
  flagOf,
  type FlatSettings,
  type InitialSettings,
  inWords,
  isOff,
  optionsOf,
  same,
  type TrainSettings,
} from "./settings.ts";
import type { FindShapes } from "../../adapters/base/named-base.ts";
import { IMAGE_OPTIONS } from "./image-options.ts";
import { type ImageFacts, resolveImages } from "./images.ts";
import { RUN_OPTIONS } from "./options.ts";
import { partOf, withUsual } from "./setting.ts";

/** What the user gave: flags, environment, configuration file. Paths are absolute. */
export type AskedSettings = Pick<FlatSettings, "model" | "data"> & Partial<FlatSettings>;

/** What defaults depend on. */
export interface ModelFacts {
  /** config.json's `model_type`. */
  readonly modelType: string;
  /** Of language models. */
  readonly contextLength?: number | undefined;
  /** Of models of images. */
  readonly images?: Pick<ImageFacts, "texts"> | undefined;
  /** Finds adapted layers, for a usual rank that depends on them; without it they bound nothing. */
  readonly shapes?: FindShapes | undefined;
  /** What `--init-adapter` brings: these may not be given otherwise. */
  readonly init?: Partial<InitialSettings> | undefined;
}

const LONGEST = 1024;
/** With `--prompt`: cutoff_len of those who made it. */
const LONGEST_PROMPTED = 256;

const USUAL = {
  texts: { batchSize: 4, schedule: "linear", leastRate: 0 },
  images: { batchSize: 32, schedule: "cosine", leastRate: 1e-3 },
} as const;

const usualLength = ({ prompt }: AskedSettings, { contextLength = Infinity }: ModelFacts) =>
  Math.min(prompt ? LONGEST_PROMPTED : LONGEST, contextLength);

/**
 * Of training all weights: larger models bear less. Small ones as measured (docs/evidence.md); CLIP as in FLYP
 * (arXiv 2212.00638), language models of billions as usual in their recipes.
 */
function fullRate({ images, shapes }: ModelFacts): number {
  const modules = shapes?.({ targets: "all-linear", layers: [] }) ?? [];
  const weights = modules.reduce((sum, { out, in: input, experts = 1 }) => sum + out * input * experts, 0);
  return images ? (weights < 1e7 ? 1e-3 : 1e-5) : weights < 1e9 ? 1e-4 : 2e-5;
}

const OF_TEXTS = Object.keys(partOf(RUN_OPTIONS, { only: "texts" }));
const OF_IMAGES = Object.keys(IMAGE_OPTIONS);

/** @throws RandloraError `usage` naming a flag that has no meaning with the model */
export function refuseOfOtherModels(asked: Partial<FlatSettings>, { images }: Pick<ModelFacts, "images">): void {
  const given = new Map<string, unknown>(Object.entries(asked));
  const key = (images ? OF_TEXTS : OF_IMAGES).find((one) => (given.get(one) ?? false) !== false);
  if (key === undefined) return;
  const model = images ? "a model of images" : "a language model";
  throw new Contradiction(optionsOf(key), `${flagOf(key)} has no meaning with ${model}`, "leave it out");
}

/**
 * Every setting of a new run, by the defaults of docs/interface/commands.md.
 * @throws RandloraError `usage` naming the flags of settings that contradict each other, or that the method has not
 */
export function resolveSettings(asked: AskedSettings, facts: ModelFacts): TrainSettings {
  const method = asked.method ?? facts.init?.method ?? METHOD_NAMES[0];
  const { training } = methodNamed(method);
  refuseOfOtherModels(asked, facts);
  const usual = facts.images ? USUAL.images : USUAL.texts;
  const usualRate =
    training.result === "adapter" ? Math.max(training.usual.learningRate, usual.leastRate) : fullRate(facts);
  const { gradAccum = 1, learningRate = usualRate } = asked;
  // A new head begins at nothing, whatever becomes of the model.
  const headRate = asked.learningRate ?? Math.max(usualRate, usual.leastRate);
  const given = { ...asked, ...(facts.init?.head && { head: facts.init.head }) };
  const common = withUsual(RUN_OPTIONS, asked);
  const settings: TrainSettings = {
    model: asked.model,
    method,
    adapter: training.result === "adapter" ? adapterSettings(training, asked, facts) : null,
    images: facts.images ? resolveImages(given, { ...facts.images, learningRate: headRate, gradAccum }) : null,
    commit: asked.commit ?? null,
    // Only its data tell.
    sampleFormat: null,
    shuffle: asked.shuffle ?? true,
    ...common,
    data: asked.data,
    epochs: asked.epochs ?? (asked.steps === undefined ? 1 : null),
    batchSize: asked.batchSize ?? usual.batchSize,
    date: facts.images ? null : (asked.date ?? USUAL_DATE),
    maxLength: facts.images ? null : (asked.maxLength ?? usualLength(asked, facts)),
    learningRate,
    schedule: asked.schedule ?? usual.schedule,
  };
  refuseForeign(method, asked);
  checkTogether(settings, asked);
  return settings;
}

function adapterSettings(
  { usual, capacity, resolve }: AdapterTraining,
  asked: AskedSettings,
  facts: ModelFacts,
): AllAdapterSettings {
  const { head, ...init } = facts.init ?? {};
  if (head !== undefined) refuseContradiction("head", asked, { head });
  if (head !== undefined && asked.newHead === true) {
    const cause = "--new-head: the adapter of --init-adapter has a trained head";
    throw new Contradiction(["newHead", "initAdapter"], cause, "leave --new-head out, or train a new adapter");
  }
  if (head !== undefined && asked.task === "contrastive") {
    const cause = "--task contrastive: the adapter of --init-adapter has a trained head";
    throw new Contradiction(["task", "initAdapter"], cause, "leave --task out, or train a new adapter");
  }
  for (const key of Object.keys(init) as (keyof typeof init)[]) refuseContradiction(key, asked, init);
  const given = { ...asked, ...init };
  const targets = given.targets ?? usualTargets(facts.modelType);
  const layers = given.layers ?? [];
  const shapes = () => (usual.rankFits ? facts.shapes?.({ targets, layers }) : undefined);
  const rank = given.rank ?? usualRank(usual.rank, capacity, shapes());
  const common = {
    rank,
    alpha: given.alpha ?? usual.alpha ?? (usual.alphaPerRank ?? 1) * rank,
    dropout: given.dropout ?? 0,
    targets,
    layers,
    initAdapter: given.initAdapter ?? null,
    initCommit: given.initCommit ?? null,
    initSha256: given.initSha256 ?? null,
  };
  return { ...common, ...resolve(given) };
}

/** The usual rank, or the next lower one that these modules can have. */
function usualRank(rank: number, { most, count }: Capacity, modules: readonly ModuleShape[] | undefined): number {
  if (modules === undefined) return rank;
  let fitting = Math.min(rank, most(modules));
  while (fitting > 1 && !Number.isFinite(count(modules, fitting, {}))) fitting--;
  return fitting;
}

/** @throws RandloraError `usage` where `--init-adapter` has a setting that was given otherwise */
function refuseContradiction<K extends keyof InitialSettings>(
  key: K,
  asked: AskedSettings,
  init: Partial<InitialSettings>,
): void {
  if (asked[key] === undefined || same(key, asked[key], init[key])) return;
  const cause = `${asGiven(key, asked[key])}: the adapter of --init-adapter has ${inWords(key, init[key])}`;
  throw new Contradiction([...optionsOf(key), "initAdapter"], cause, `leave ${flagOf(key, asked[key])} out`);
}

/** The targets where none were given: PEFT's for the architecture, else the architecture's own. @throws RandloraError `usage` where there are none */
export function usualTargets(modelType: string): string | string[] {
  const targets = defaultTargets(modelType) ?? targetsOf(modelType);
  if (targets !== undefined) return typeof targets === "string" ? targets : [...targets];
  const cause = `no default targets are known for model type ${quote(modelType)}`;
  throw new RandloraError("usage", cause, "name the modules to adapt: --targets q_proj,v_proj or --targets all-linear");
}

/** Refuses settings that other methods have. */
function refuseForeign(method: string, asked: AskedSettings): void {
  const ownKeys = ({ training }: TrainedMethod) => Object.keys(training.result === "adapter" ? training.settings : {});
  const chosen = methodNamed(method);
  const has = new Set(ownKeys(chosen));
  const given = new Map<string, unknown>(Object.entries(asked));
  const foreign = [...METHODS.flatMap(ownKeys), ...missingCommon(chosen)].find((key) => {
    return !has.has(key) && !isOff(given.get(key) ?? false);
  });
  if (foreign === undefined) return;
  const flag = flagOf(foreign, given.get(foreign));
  const cause = `${flag} has no meaning with --method ${method}`;
  throw new Contradiction([...optionsOf(foreign), "method"], cause, "leave it out");
}

/** Settings of adapters in general that this method has no use for. */
function missingCommon({ training }: TrainedMethod): string[] {
  if (training.result !== "adapter") return Object.keys(ADAPTER_SETTINGS);
  return training.usual.alphaPerRank === null ? ["alpha"] : [];
}

/** @throws RandloraError `usage` for shards that do not make a binary tree, or that are more than a step has samples */
function refuseShards({ shards, batchSize, gradAccum, images }: TrainSettings): void {
  if (!Number.isInteger(Math.log2(shards)))
    throw new RandloraError("usage", `--shards ${shards}: not a power of two`, "give 1, 2, 4, 8 …");
  if (images?.task === "contrastive" && shards > 1) {
    const cause = `${shards} shards: the contrastive loss compares all images of a step and is no sum over them`;
    throw new Contradiction(["shards", "task"], cause, "leave --shards out, and start one process");
  }
  if (shards <= batchSize * gradAccum) return;
  const samples = batchSize * gradAccum;
  const cause = `a step of ${samples} samples (--batch-size times --grad-accum) cannot be cut into ${shards} shards`;
  const hint = `give --batch-size ${shards}, or ${samples} shards at most: without --shards each process has one`;
  throw new Contradiction(["shards", "batchSize"], cause, hint);
}

function checkTogether(settings: TrainSettings, asked: AskedSettings): void {
  if (asked.steps !== undefined && asked.epochs !== undefined && asked.epochs !== null && asked.steps !== null) {
    const cause = "--steps and --epochs: both say how long the run is";
    throw new Contradiction(["steps", "epochs"], cause, "give one of them");
  }
  refuseShards(settings);
  if ((settings.adapter?.dropout ?? 0) > 0 && settings.gradAccum + settings.shards - 1 > DROPOUT_MICRO_BATCHES) {
    const cause = `--grad-accum ${settings.gradAccum}: with dropout a step has at most ${DROPOUT_MICRO_BATCHES} micro-batches`;
    throw new Contradiction(["gradAccum", "dropout"], cause, "give a larger --batch-size, or leave --dropout out");
  }
  if (settings.quantize !== null && settings.adapter === null) {
    const cause = `--quantize ${settings.quantize} has no meaning with --method ${settings.method}, which freezes no weights`;
    throw new Contradiction(["quantize", "method"], cause, "leave it out");
  }
  if (settings.valid !== null && settings.validSplit !== null) {
    const cause = "--valid and --valid-split: both say what to validate on";
    throw new Contradiction(["valid", "validSplit"], cause, "give one of them");
  }
}
