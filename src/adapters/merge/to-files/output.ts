import { stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { isRoundedDtype } from "../../../compute/device/dtype.ts";
import { naming, oneLine } from "../../../files/failure.ts";
import { GgufFile } from "../../../files/gguf/reader.ts";
import { dividedTensor } from "../../../files/safetensors/divided.ts";
import { SafetensorsFile } from "../../../files/safetensors/file.ts";
import { shapeElements } from "../../../files/safetensors/header.ts";
import { encodeIndex, INDEX_FILE, type PlannedShard } from "../../../files/safetensors/shards.ts";
import { type ConfigChanges, type ModelConfig, updateConfig } from "../../../models/folder/config-json.ts";
import { isGgufFile } from "../../../models/folder/open-checkpoint.ts";
import { copyModelFiles, ownFiles } from "../../../models/folder/copy.ts";
import { GgufTensors } from "../../../models/gguf/tensors.ts";
import { fileSource, type OutputTensor, type TensorSource } from "../plan.ts";
import type { GgufPlan } from "../to-gguf/sink.ts";
import type { WrittenTensor } from "./verify.ts";

/**
 * `x` → `x-merged`, `x.safetensors` → `x-merged.safetensors`, as of .gguf; `-unmerged` for an unmerge. In the current
 * folder: the base may lie in a cache.
 */
export function defaultOutput(base: string, unmerge: boolean): string {
  const suffix = unmerge ? "-unmerged" : "-merged";
  const path = resolve(base);
  const name = basename(path.endsWith(".json") ? dirname(path) : path);
  const [ending = ""] = /\.(?:safetensors|gguf)$/.exec(name) ?? [];
  return `${name.slice(0, name.length - ending.length)}${suffix}${ending}`;
}

/** Is the base one file of weights and nothing else, so that the output is one too? A GGUF file has all of a model. */
export async function isLoneFile(base: string): Promise<boolean> {
  return !base.endsWith(".json") && !isGgufFile(base) && (await naming(base, "read", stat(base))).isFile();
}

/** What the files beside the weights depend on. */
export interface ModelFiles {
  readonly checkpoint: Checkpoint;
  /** Where they are written. */
  readonly folder: string;
  /** The output's real path, which is no part of the model, should it lie in its folder. */
  readonly target?: string | undefined;
  readonly config: ModelConfig;
  readonly changes: ConfigChanges;
  readonly shards: readonly PlannedShard[];
  /** Told what the user should know: one line each. */
  readonly warn?: ((line: string) => void) | undefined;
}

/**
 * Writes everything of a model folder but its weights: config.json, an index where there are several shards, and
 * copies of the base's other files. Before the weights, so that a file that cannot be read is found at once.
 * @throws RandloraError `file`
 */
export async function writeModelFiles(files: ModelFiles): Promise<void> {
  const { checkpoint, folder, target, config, changes, shards, warn } = files;
  // The output's path is real: so must be what it is compared with.
  const { from, own } = await ownFiles(checkpoint);
  const { weights, notes } = await copyModelFiles(from, folder, new Set([...own, ...(target ? [target] : [])]));
  if (weights.length > 0) warn?.(`not copied, as they hold unmerged weights: ${oneLine(weights.join(", "))}`);
  for (const note of notes) warn?.(note);
  const configPath = join(folder, "config.json");
  await naming(configPath, "write", writeFile(configPath, updateConfig(config.text, changes)));
  if (shards.length === 1) return;
  const indexPath = join(folder, INDEX_FILE);
  const tensors = shards.flatMap((shard) => shard.tensors);
  const metadata = indexMetadata(checkpoint.indexMetadata, checkpoint.tensors, tensors);
  await naming(indexPath, "write", writeFile(indexPath, encodeIndex(shards, metadata)));
}

/**
 * The metadata of an index after a merge: the base's own, but `total_parameters`, which transformers writes, grows by the
 * tensors that `known`, the base's, lacks.
 */
export function indexMetadata(
  own: Readonly<Record<string, unknown>>,
  known: ReadonlyMap<string, unknown>,
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
): Readonly<Record<string, unknown>> {
  const { total_parameters: total } = own;
  if (typeof total !== "number") return own;
  const added = tensors.filter(({ name }) => !known.has(name));
  return { ...own, total_parameters: added.reduce((sum, { shape }) => sum + shapeElements(shape), total) };
}

/** The tensors that were written, read back from the unpublished output. */
export async function openWritten(
  shards: readonly PlannedShard<OutputTensor>[],
  pathOf: (shard: PlannedShard) => string,
  keep: (file: SafetensorsFile) => SafetensorsFile,
): Promise<(name: string) => TensorSource> {
  const sources = new Map<string, TensorSource>();
  for (const shard of shards) {
    const file = keep(await SafetensorsFile.open(pathOf(shard)));
    for (const [whole, parts] of Map.groupBy(shard.tensors, (tensor) => tensor.whole?.name)) {
      const written = (name: string) => ({ file, info: file.get(name) });
      const tensors =
        whole === undefined ? parts.map(({ name }) => written(name)) : dividedTensor(written(whole), parts);
      for (const one of tensors) sources.set(one.info.name, fileSource(one.file, one.info));
    }
  }
  return (name) => {
    const source = sources.get(name);
    if (source === undefined) throw new RangeError(name);
    return source;
  };
}

/** The same of a GGUF file. */
export async function openWrittenGguf(
  path: string,
  { model, tensors }: GgufPlan,
  keep: (file: GgufFile) => GgufFile,
): Promise<(name: string) => WrittenTensor> {
  const file = new GgufTensors(keep(await GgufFile.open(path)), model.config);
  const infos = new Map(file.header.tensors.map((info) => [info.name, info]));
  return (name) => {
    const [info, planned] = [infos.get(name), tensors.get(name)];
    if (info === undefined || planned === undefined) throw new RangeError(name);
    const { type: dtype, turned } = planned;
    const blocks = isRoundedDtype(dtype) ? { dtype, isTurned: turned !== undefined } : undefined;
    return { ...fileSource(file, info), blocks };
  };
}
