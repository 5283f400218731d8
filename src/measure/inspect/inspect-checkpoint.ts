import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { type Tolerate, tolerated } from "../../adapters/files/values.ts";
import type { RandloraError } from "../../files/errors.ts";
import { readConfig as readPlainConfig } from "../../models/folder/config-json.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import { asDivided } from "../../models/description.ts";
import { loadConfig, loadConfigs } from "../../models/decoder/architectures/index.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import { checkImagePlan } from "../../models/vision/image-model.ts";
import { IMAGE_TYPES, loadImageConfig } from "../../models/vision/index.ts";
import { checkPlan, storedDecoder } from "../../models/decoder/weight-plan.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { TensorInfo } from "../../files/safetensors/header.ts";
import { readIndex } from "../../files/safetensors/index-file.ts";
import { INDEX_FILE } from "../../files/safetensors/shards.ts";
import { bytesOfToken, countExperts, type ExpertCounts } from "./experts.ts";
import { plannedModel } from "../budget/planned-model.ts";
import { type CountedTensor, countTensors, type TensorCounts } from "./tensor-groups.ts";

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
