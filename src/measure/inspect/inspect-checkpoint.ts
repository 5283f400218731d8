import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { type Tolerate, tolerated } from "../../adapters/files/tensors.ts";
import type { RandloraError } from "../../files/errors.ts";
import { readConfig as readPlainConfig } from "../../models/folder/config-json.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import { asDivided } from "../../models/description.ts";
import { loadConfig, loadConfigs } from "../../models/decoder/architectures/index.ts";
import { type DecoderConfig, isOfOtherPart } from "../../models/decoder/config.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import { checkImagePlan } from "../../models/vision/image-model.ts";
import { IMAGE_TYPES, loadImageConfig } from "../../models/vision/index.ts";
import { checkPlan, storedDecoder, plannedMatrices } from "../../models/decoder/weight-plan.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { TensorInfo } from "../../files/safetensors/header.ts";
import { readIndex } from "../../files/safetensors/index-file.ts";
import { INDEX_FILE } from "../../files/safetensors/shards.ts";
import { plannedModel } from "../budget/planned-model.ts";
import { type CountedTensor, countTensors, type TensorCounts } from "./tensor-groups.ts";
import { isJsonObject } from "../../files/json.ts";
import type { PlannedMatrix } from "../../models/tensor-plan.ts";

/** A file with weights. */
export interface Shard {
  readonly file: string;
  readonly tensors: number;
  /** Undefined for one that was not fetched. */
  readonly bytes: number | undefined;
}

/** What a checkpoint's headers and its config.json say. */
export interface CheckpointReport {
  readonly path: string;
  /** The classes that config.json names, and its `model_type`. */
  readonly architectures: readonly string[];
  readonly modelType: string | undefined;
  /** Undefined for a model that this program cannot run, and for one of images. */
  readonly config: DecoderConfig | undefined;
  /** Of a model of images. */
  readonly images: ImageConfig | undefined;
  readonly counts: TensorCounts;
  /** Of a mixture of experts. */
  readonly experts: ExpertCounts | undefined;
  /** Bytes of stored weights that are read for a token; undefined for what cannot be run. */
  readonly bytesOfToken: number | undefined;
  /** The output matrix is the embedding; undefined where nothing says so. */
  readonly tied: boolean | undefined;
  readonly shards: readonly Shard[];
  /** `false`: the weights are not on this machine, and what is said of them follows from config.json. */
  readonly hasWeights: boolean;
  /** Why it cannot be run. */
  readonly problems: readonly RandloraError[];
}

/**
 * Describes a checkpoint from its headers: weights are not read.
 *
 * @param path a folder, an index.json, or one .safetensors file
 * @throws RandloraError `file`, `format` where the weights, and config.json without them, cannot be read
 */
export async function inspectCheckpoint(path: string): Promise<CheckpointReport> {
  if (hasConfigAlone(path)) return await inspectConfig(path);
  await using checkpoint = await openCheckpoint(path);
  const problems: RandloraError[] = [];
  const tolerate: Tolerate = (problem) => void problems.push(problem);
  const { folder, tensors, files } = checkpoint;
  const json = (await readPlainConfig(folder).catch((thrown: unknown) => tolerated(tolerate, thrown)))?.value;
  const isOfImages = IMAGE_TYPES.includes(names(json).modelType ?? "");
  const reading = json && (isOfImages ? loadImageConfig(folder, tensors) : loadConfig(folder));
  const read = await reading?.catch((thrown: unknown) => tolerated(tolerate, thrown));
  const [described, images] = read === undefined ? [] : "vision" in read ? [undefined, read] : [read, undefined];
  const config = described && storedDecoder(described, tensors);
  try {
    if (config !== undefined) checkPlan(config, checkpoint);
    if (images !== undefined) checkImagePlan(images, checkpoint);
  } catch (thrown) {
    tolerated(tolerate, thrown);
  }
  const hasHead = tensors.has("lm_head.weight");
  const counted = [...tensors.values()].map(({ info }): CountedTensor => ({ ...info, ...info.blocks }));
  const packed = [...tensors.values()].flatMap(({ info }) => (info.packed ? [info] : []));
  const parts = new Set(packed.flatMap((info) => info.packed ?? []));
  const stored = [...files.flatMap(({ header }) => header.tensors.filter(({ name }) => !parts.has(name))), ...packed];
  const said = json?.["tie_word_embeddings"];
  return {
    path,
    ...names(json),
    config,
    images,
    counts: countTensors([...Map.groupBy(stored, labelOf).values()].map(wholeOf)),
    experts: countExperts(config, json, counted),
    bytesOfToken: config && bytesOfToken(config, counted),
    tied: config ? config.head === undefined : hasHead ? false : typeof said === "boolean" ? said : undefined,
    shards: files.map(({ path: file, size, header }) => ({
      file: basename(file),
      tensors: new Set(header.tensors.map(labelOf)).size,
      bytes: size,
    })),
    hasWeights: true,
    problems,
  };
}

/** What is read as several tensors is one by its name there. */
const labelOf = ({ name, whole }: TensorInfo) => whole?.name ?? name;

/** One tensor of what is read as several. */
function wholeOf(parts: readonly TensorInfo[]): CountedTensor {
  const [first] = parts;
  if (first === undefined) throw new RangeError("no part of a tensor");
  const bytes = parts.reduce((sum, { bytes, blocks }) => sum + (blocks?.bytes ?? bytes), 0);
  return { ...first, ...first.whole, dtype: first.blocks?.dtype ?? first.dtype, bytes };
}

/** A folder with a configuration, and none of the weights that its index names. */
function hasConfigAlone(path: string): boolean {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory() || !existsSync(join(path, "config.json"))) return false;
  return !readdirSync(path).some((name) => /\.(?:safetensors|bin|pt|pth|gguf)$/.test(name));
}

/** A checkpoint of which config.json is here, and perhaps its index. */
async function inspectConfig(folder: string): Promise<CheckpointReport> {
  const { config: described, json } = await loadConfigs(folder);
  const config = asDivided(described);
  const { base, packed } = plannedModel(config, json, folder);
  const counted = [...base.tensors].map(([name, { dtype, shape }]): CountedTensor => {
    const bytes = shape.reduce((product, size) => product * size, dtypeBytes(dtype));
    return { name, shape, dtype, bytes, ...packed.get(name) };
  });
  const index = existsSync(join(folder, INDEX_FILE)) ? await readIndex(join(folder, INDEX_FILE)) : undefined;
  const perFile = Map.groupBy(index?.shardOf ?? [], ([, file]) => file);
  return {
    path: folder,
    ...names(json),
    config,
    images: undefined,
    counts: countTensors(counted),
    experts: countExperts(config, json, counted),
    bytesOfToken: bytesOfToken(config, counted),
    tied: config.head === undefined,
    shards: [...perFile].map(([file, held]) => ({ file, tensors: held.length, bytes: undefined })),
    hasWeights: false,
    problems: [],
  };
}

function names(json: Readonly<Record<string, unknown>> | undefined) {
  const { architectures: classes, model_type: modelType } = json ?? {};
  return {
    architectures: Array.isArray(classes) ? classes.filter((name) => typeof name === "string") : [],
    modelType: typeof modelType === "string" ? modelType : undefined,
  };
}

/** The experts of a mixture, and what of the model a token goes through. */
export interface ExpertCounts {
  /** Of a layer, and those of them that a token goes to; undefined: nothing says it. */
  readonly count: number;
  readonly chosen: number | undefined;
  /** In all experts of all layers. */
  readonly parameters: number;
  /** Of the whole model, those that a token goes through. */
  readonly active: number | undefined;
}

/** Names of an expert's tensors, or of those of all experts, in most models. */
const OF_EXPERT = /\.experts\.(?:(\d+)\.)?/;

/**
 * Counts the experts of a checkpoint; undefined: it has none.
 * @param config of a model that can be run; else names of tensors and the usual settings of `json`, config.json, say it
 */
function countExperts(
  config: DecoderConfig | undefined,
  json: Readonly<Record<string, unknown>> | undefined,
  tensors: readonly CountedTensor[],
): ExpertCounts | undefined {
  const known = config && expertsOf(config);
  const isOne = known
    ? ({ name }: CountedTensor) => known.names.has(name)
    : ({ name }: CountedTensor) => OF_EXPERT.test(name);
  const experts = tensors.filter(isOne);
  const { count, chosen } = known ?? saidIn(json, experts);
  if (experts.length === 0 || count === undefined) return undefined;
  const parameters = experts.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
  const all = tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
  const idle = chosen === undefined ? undefined : parameters * (1 - chosen / count);
  return { count, chosen, parameters, active: idle === undefined ? undefined : Math.round(all - idle) };
}

/**
 * Bytes of weights that are read for a token that is decoded, as they are stored: those of its own experts, and a row of learned
 * positions, of a table for all layers and of an embedding that is no output matrix as well.
 */
function bytesOfToken(config: DecoderConfig, tensors: readonly CountedTensor[]): number {
  const experts = expertsOf(config);
  const { head, embedding, positions, layerTable, vocabularySize, contextLength } = config;
  const tables = new Map([
    ...(head === undefined ? [] : namesOf(embedding)).map((name) => [name, vocabularySize] as const),
    ...(layerTable?.parts ?? []).map(({ name, rows }) => [name, rows] as const),
    ...(positions === undefined ? [] : namesOf(positions)).map((name) => [name, contextLength] as const),
  ]);
  const planned = new Set(plannedMatrices(config).flatMap(namesOf));
  return tensors.reduce((sum, { name, bytes }) => {
    if (!planned.has(name) || isOfOtherPart(config, name)) return sum;
    const rows = tables.get(name);
    if (rows !== undefined) return sum + bytes / rows;
    return sum + (experts?.names.has(name) === true ? (bytes * experts.chosen) / experts.count : bytes);
  }, 0);
}

function expertsOf({ layers }: DecoderConfig) {
  const mixers = layers.flat().flatMap(({ mixer }) => (mixer.kind === "experts" ? [mixer] : []));
  const [first] = mixers;
  if (first === undefined) return undefined;
  const all = mixers.flatMap(({ gateUp, gateUpBias, down, downBias }) => [gateUp, gateUpBias, down, downBias]);
  const names = new Set(all.flatMap((matrix) => matrix?.parts ?? []).map(({ name }) => name));
  return { count: first.count, chosen: first.chosen, names };
}

/** By transformers' names of settings, also of a text decoder's; else the numbers in names of tensors. */
function saidIn(json: Readonly<Record<string, unknown>> | undefined, experts: readonly CountedTensor[]) {
  const text = json?.["text_config"];
  const settings = { ...json, ...(isJsonObject(text) ? text : {}) };
  const first = (...names: readonly string[]) =>
    names
      .map((name) => settings[name])
      .find((value) => typeof value === "number" && value > 0 && Number.isInteger(value));
  const numbers = experts.map(({ name }) => Number(OF_EXPERT.exec(name)?.[1] ?? NaN));
  const highest = numbers.reduce((most, number) => (number > most ? number : most), -1);
  const count =
    first("num_experts", "num_local_experts", "n_routed_experts") ?? (highest < 0 ? undefined : highest + 1);
  const chosen = first("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k");
  return { count: numberOf(count), chosen: numberOf(chosen) };
}

const numberOf = (value: unknown) => (typeof value === "number" ? value : undefined);

function namesOf({ parts }: PlannedMatrix): string[] {
  return parts.map(({ name }) => name);
}

function elementsOf({ shape }: CountedTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}
