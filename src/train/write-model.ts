import type { Device } from "../device/device.ts";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { countOverflows, overflow } from "../merge/finite.ts";
import { missingConfig, readConfig, updateConfig } from "../merge/model-config.ts";
import { copyModelFiles, ownFiles } from "../merge/model-files.ts";
import type { Checkpoint } from "../safetensors/checkpoint.ts";
import { dtypeBytes, NAMED_DTYPES, type WritableFloatDtype } from "../safetensors/dtype.ts";
import { naming, quote } from "../files/failure.ts";
import { roundFromF32 } from "../safetensors/numbers.ts";
import { encodeIndex, INDEX_FILE, planShards } from "../safetensors/shards.ts";
import { SafetensorsWriter } from "../safetensors/writer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { readRows } from "../tensor/read-rows.ts";
import type { HeldDtype } from "../adapters/training/settings.ts";

/** transformers' limit for one file. */
const SHARD_BYTES = 5e9;
/** Bytes that are read from the GPU at once. */
const BLOCK_BYTES = 32 * 2 ** 20;

/** What a model folder is made of. */
export interface TrainedWeights {
  /** The model that was trained: its files beside the weights are copied, its tensors' names, order and dtypes kept. */
  readonly checkpoint: Checkpoint;
  /** Trained tensors by name, F32. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly dtype: HeldDtype;
}

/**
 * Writes a Hugging Face folder into `folder`, which is empty. Tensors that the decoder does not read (tables that are
 * computed, the copy of a tied head) are left out, as transformers does.
 * @throws RandloraError `file`, `gpu`; `numeric` for weights that have become too large for the dtype
 */
export async function writeModel(
  gpu: Device,
  folder: string,
  { checkpoint, tensors, dtype }: TrainedWeights,
): Promise<void> {
  const config = await readConfig(checkpoint.folder);
  if (config === undefined) throw missingConfig(checkpoint.folder);
  const { from, own } = await ownFiles(checkpoint);
  await copyModelFiles(from, folder, new Set(own));
  const configPath = join(folder, "config.json");
  await naming(configPath, "write", writeFile(configPath, updateConfig(config.text, { dtype, untied: false })));
  const planned = [...checkpoint.tensors].flatMap(([name, { info }]) => {
    const tensor = tensors.get(name);
    return tensor === undefined ? [] : [{ name, shape: info.shape, dtype: dtypeOf(dtype, info.dtype), tensor }];
  });
  const shards = planShards(planned, SHARD_BYTES);
  for (const shard of shards) {
    const path = join(folder, shard.file);
    await using writer = await SafetensorsWriter.create(path, shard.tensors, new Map([["format", "pt"]]));
    for (const { name, tensor, dtype: stored } of shard.tensors) {
      await append(gpu, writer, name, tensor, stored);
    }
    await writer.finish();
  }
  if (shards.length === 1) return;
  const indexPath = join(folder, INDEX_FILE);
  await naming(indexPath, "write", writeFile(indexPath, encodeIndex(shards, checkpoint.indexMetadata)));
}

async function append(
  gpu: Device,
  writer: SafetensorsWriter,
  name: string,
  tensor: Tensor,
  dtype: WritableFloatDtype,
): Promise<void> {
  const [rows] = tensor.shape;
  const step = Math.max(1, Math.floor(BLOCK_BYTES / (tensor.pitch * 4)));
  for (let first = 0; first < rows; first += step) {
    const numbers = await readRows(gpu, tensor, first, Math.min(step, rows - first));
    const tooLarge = countOverflows(numbers, dtype);
    if (tooLarge > 0) throw overflow({ label: quote(name) }, tooLarge, dtype);
    let bytes = new Uint8Array(numbers.buffer);
    if (dtype !== "F32") {
      bytes = new Uint8Array(numbers.length * dtypeBytes(dtype));
      roundFromF32(numbers, dtype, bytes);
    }
    await writer.append(name, bytes);
  }
}

function dtypeOf(wanted: HeldDtype, stored: string): WritableFloatDtype {
  if (wanted !== "keep") return NAMED_DTYPES[wanted];
  return stored === "F16" || stored === "BF16" ? stored : "F32";
}
