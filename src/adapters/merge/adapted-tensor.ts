import type { Device } from "../../compute/device/device.ts";
import { isKernelDtype } from "../../compute/device/dtype.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { convertTensor } from "./convert.ts";
import { type LoadedAdapter, uploadDeltas } from "./to-files/write.ts";
import { mergeBlock, weightBlocks, type WeightToMerge } from "./merge-tensor.ts";
import { fileSource, type OutputTensor } from "./plan.ts";
import { matrixSizes, storedWeight } from "./stored-weight.ts";

type Write = (bytes: Uint8Array) => Promise<void>;

/**
 * Hands the bytes of one tensor of a plan to `write`, in order: those that `merge` would write.
 * @param adapters those of the plan
 * @throws RandloraError `numeric` naming file and tensor when a merged weight is not finite; `file`, `memory`, `gpu`
 */
export async function adaptTensor(
  gpu: Device,
  checkpoint: Checkpoint,
  tensor: OutputTensor,
  adapters: readonly LoadedAdapter[],
  write: Write,
): Promise<void> {
  const { dtype, work } = tensor;
  if (work.kind === "merge") await mergeOne(gpu, tensor, work, adapters, write);
  else if (work.kind === "convert") await convertTensor(work.source, dtype, write);
  else {
    const { file, info } = checkpoint.get(work.tensor);
    await convertTensor(fileSource(file, info), dtype, write);
  }
}

async function mergeOne(
  gpu: Device,
  { name, dtype, shape }: OutputTensor,
  { source, deltas: planned }: OutputTensor["work"] & { kind: "merge" },
  adapters: readonly LoadedAdapter[],
  write: Write,
): Promise<void> {
  const [rows, cols] = matrixSizes(shape);
  if (!isKernelDtype(dtype)) throw new TypeError(`${name}: planned as ${dtype}`);
  const uploaded = await uploadDeltas(adapters, planned, storedWeight(source, rows, cols));
  const deltas = Promise.resolve(uploaded);
  const weight: WeightToMerge = { source, rows, cols, target: dtype, rounding: "once", deltas };
  try {
    const blocks = weightBlocks(weight);
    const scratch = new Uint8Array((blocks[0]?.rows ?? 0) * (source.bytes / rows));
    for (const block of blocks) await mergeBlock(gpu, weight, block, scratch, () => {}, write);
  } finally {
    for (const { delta } of uploaded) delta.release();
  }
}
