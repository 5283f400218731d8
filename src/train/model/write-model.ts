import type { Device } from "../../compute/device/device.ts";
import { join } from "node:path";
import { convertTensor, countOverflows, overflow } from "../../adapters/merge/stored-weight.ts";
import { missingConfig, readConfig } from "../../models/folder/config-json.ts";
import { findModelFiles, ownFiles } from "../../models/folder/copy.ts";
import { fileSource } from "../../adapters/merge/plan.ts";
import { writeModelFiles } from "../../adapters/merge/to-files/output.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import type { CheckpointTensor } from "../../files/safetensors/header.ts";
import {
  type Dtype,
  dtypeBytes,
  isFloat,
  NAMED_DTYPES,
  type WritableFloatDtype,
} from "../../files/safetensors/dtype.ts";
import { quote } from "../../files/failure.ts";
import { roundFromF32 } from "../../files/safetensors/numbers.ts";
import { transpose } from "../../files/safetensors/transpose.ts";
import { planShards } from "../../files/safetensors/shards.ts";
import { type PlannedTensor, SafetensorsWriter } from "../../files/safetensors/writer.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import type { HeldDtype } from "../../adapters/method/settings.ts";

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
  /** Those that the checkpoint stores transposed, by name: their shapes there; by default none. */
  readonly transposed?: ReadonlyMap<string, readonly number[]> | undefined;
  readonly dtype: HeldDtype;
  /** Does this tensor of the checkpoint, which was not trained, belong to the model? By default none does. */
  readonly keeps?: ((name: string) => boolean) | undefined;
  /** A classifier that was trained; it follows the checkpoint's tensors. */
  readonly head?: TrainedHead | undefined;
}

export interface TrainedHead {
  /** transformers' class that has it; undefined: there is none. */
  readonly architecture: string | undefined;
  /** The names of its rows. */
  readonly labels: readonly string[];
  /** By their names, each with its shape in the file. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly tensor: Tensor }[];
}

/** A tensor of the output: one that was trained, or as the checkpoint has it. */
type Written = PlannedTensor &
  (
    | { readonly trained: Tensor; readonly dtype: WritableFloatDtype }
    | { readonly trained: undefined; readonly stored: CheckpointTensor }
  );

/**
 * Writes a Hugging Face folder into `folder`, which is empty. Of tensors that were not trained those alone are written that
 * the model `keeps`: those that a decoder does not read (tables that are computed, the copy of a tied head) are left out,
 * as transformers does.
 * @throws RandloraError `file`, `gpu`; `numeric` for weights that have become too large for the dtype
 */
export async function writeModel(
  gpu: Device,
  folder: string,
  { checkpoint, tensors, transposed, dtype, keeps = () => false, head }: TrainedWeights,
): Promise<void> {
  const config = await readConfig(checkpoint.folder);
  if (config === undefined) throw missingConfig(checkpoint.folder);
  const planned = [...checkpoint.tensors].flatMap(([name, stored]): Written[] => {
    const trained = tensors.get(name);
    const { shape, dtype: own, whole } = stored.info;
    if (trained !== undefined) return [{ name, shape, whole, dtype: dtypeOf(dtype, own), trained }];
    const kept = dtype === "keep" || !isFloat(own) ? own : NAMED_DTYPES[dtype];
    return keeps(name) ? [{ name, shape, whole, dtype: kept, trained, stored }] : [];
  });
  for (const { name, shape, tensor } of head?.tensors ?? []) {
    planned.push({ name, shape, dtype: dtypeOf(dtype, "F32"), trained: tensor });
  }
  const shards = planShards(planned, SHARD_BYTES);
  await writeModelFiles({ checkpoint, folder, config, changes: { dtype, untied: false, head }, shards });
  for (const shard of shards) {
    const path = join(folder, shard.file);
    await using writer = await SafetensorsWriter.create(path, shard.tensors, new Map([["format", "pt"]]));
    for (const one of shard.tensors) {
      if (one.trained !== undefined) await append(gpu, writer, one, transposed?.get(one.name));
      else await copy(writer, one.stored, one.dtype);
    }
    await writer.finish();
  }
}

/** What the user should know of the files that would be copied with the model: one line each. @throws RandloraError `file` */
export async function notesOfCopy(checkpoint: Checkpoint): Promise<readonly string[]> {
  const { from, own } = await ownFiles(checkpoint);
  return (await findModelFiles(from, new Set(own))).notes;
}

async function copy(writer: SafetensorsWriter, { file, info }: CheckpointTensor, dtype: Dtype): Promise<void> {
  await convertTensor(fileSource(file, info), dtype, (bytes) => writer.append(info.name, bytes));
}

async function append(
  gpu: Device,
  writer: SafetensorsWriter,
  { name, trained: tensor, dtype }: Written & { readonly trained: Tensor },
  transposed: readonly number[] | undefined,
): Promise<void> {
  const [rows] = tensor.shape;
  // Of what is transposed one matrix is read at a time: rows in memory are columns there.
  const step = transposed?.at(-1) ?? Math.max(1, Math.floor(BLOCK_BYTES / (tensor.pitch * 4)));
  for (let first = 0; first < rows; first += step) {
    const read = await readRows(gpu, tensor, first, Math.min(step, rows - first));
    const numbers = transposed ? turnedNumbers(read, transposed) : read;
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

/** Rows of a matrix, or of several, as a checkpoint that stores them transposed has them, in this shape. */
function turnedNumbers(rows: Float32Array<ArrayBuffer>, stored: readonly number[]): Float32Array<ArrayBuffer> {
  const [cols = NaN, each = NaN] = stored.slice(-2);
  return new Float32Array(transpose(new Uint8Array(rows.buffer), each, cols, 4).buffer);
}

function dtypeOf(wanted: HeldDtype, stored: string): WritableFloatDtype {
  if (wanted !== "keep") return NAMED_DTYPES[wanted];
  return stored === "F16" || stored === "BF16" ? stored : "F32";
}
