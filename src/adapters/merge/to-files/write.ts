import { BytePool } from "../../../compute/device/byte-pool.ts";
import type { Device } from "../../../compute/device/device.ts";
import type { AdapterPlan, DeltasOnGpu, StoredWeight } from "../../method/plan.ts";
import { isKernelDtype } from "../../../compute/device/dtype.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { TensorInfo } from "../../../files/safetensors/header.ts";
import type { PlannedShard } from "../../../files/safetensors/shards.ts";
import { copyTensor, plannedBytes } from "../../../files/safetensors/writer.ts";
import { convertTensor } from "../convert.ts";
import { mergeBlock, type Rounding, weightBlocks, type WeightToMerge } from "../merge-tensor.ts";
import type { DeltaOnGpu } from "../record-deltas.ts";
import { OrderedSteps } from "./ordered.ts";
import type { OutputTensor, PlannedDelta } from "../plan.ts";
import { matrixSizes, storedWeight } from "../stored-weight.ts";

/** Bytes of weights that are read, computed and written at the same time. */
const IN_FLIGHT_BYTES = 4 * 2 ** 20;

/** Tensors between two collections of garbage: by itself the collector would wait for as much of it as a small merge takes altogether. */
const COLLECTED_TENSORS = 32;

/** From this size on a tensor that is copied is, where the file allows it, while others are computed behind it. */
const BESIDE_BYTES = 8 * 2 ** 20;

/** Half of it is read while the other half is written. */
const COPY_BUFFER_BYTES = 2 * 2 ** 20;

/** An adapter, ready on the GPU. */
export interface LoadedAdapter {
  readonly plan: AdapterPlan;
  readonly deltas: DeltasOnGpu;
  /** What ΔW is multiplied by: `--scale`, negative for an unmerge. */
  readonly factor: number;
}

/** What a merge did to one tensor. */
export interface TensorReport {
  readonly name: string;
  readonly elements: number;
  readonly maxAbsDelta: number;
  /** Σ ΔW², of all adapters together. */
  readonly sumOfSquares: number;
  readonly changed: number;
}

/** A file that is written: safetensors, or GGUF. */
export interface TensorSink {
  /** The bytes of the tensor of this name, in the planned order, piece by piece. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** Has bytes of a tensor read and written beside what is appended behind them; false: the file does not allow it. See `PlannedFile`. */
  appendBeside?(name: string, bytes: number, read: (out: Uint8Array, from: number) => Promise<void>): Promise<boolean>;
  /** Is a tensor that the base has in blocks to come as them? */
  takesBlocks?(name: string): boolean;
  finish(): Promise<void>;
  close(): Promise<void>;
}

export interface MergeJob {
  readonly gpu: Device;
  readonly checkpoint: Checkpoint;
  readonly adapters: readonly LoadedAdapter[];
  readonly rounding: Rounding;
  readonly signal: AbortSignal;
  readonly onTensor: (name: string) => void;
  readonly onBytes: (bytes: number) => void;
}

/**
 * Writes the shards of the output: reading, computing and writing overlap, tensors keep their planned order.
 * @param create opens the file of a shard
 * @returns one report for each merged tensor, in order
 * @throws RandloraError `numeric` naming file and tensor when a merged weight is not finite; `file` and `gpu` as they
 *   occur; the signal's reason when it was aborted
 */
export async function writeMerged(
  job: MergeJob,
  shards: readonly PlannedShard<OutputTensor>[],
  create: (shard: PlannedShard<OutputTensor>) => Promise<TensorSink>,
): Promise<TensorReport[]> {
  const steps = new OrderedSteps(IN_FLIGHT_BYTES);
  const scratch = new BytePool();
  const copyBuffer = new Uint8Array(COPY_BUFFER_BYTES);
  const reports: TensorReport[] = [];
  const open: TensorSink[] = [];
  try {
    for (const shard of shards) {
      const writer = await create(shard);
      open.push(writer);
      for (const tensor of shard.tensors) {
        job.signal.throwIfAborted();
        await addTensor(job, steps, scratch, copyBuffer, writer, tensor, reports);
      }
      await steps.add(0, async (turn) => {
        await turn;
        await writer.finish();
      });
    }
    await steps.drain();
    for (const writer of open) await writer.close();
    return reports;
  } catch (thrown) {
    // The first failure is the cause: what fails while the rest is put away says less.
    await steps.drain().catch(() => {});
    await Promise.allSettled(open.map((writer) => writer.close()));
    throw thrown;
  }
}

async function addTensor(
  job: MergeJob,
  steps: OrderedSteps,
  scratch: BytePool,
  copyBuffer: Uint8Array,
  writer: TensorSink,
  tensor: OutputTensor,
  reports: TensorReport[],
): Promise<void> {
  const { name, work } = tensor;
  // Steps are planned far ahead: that the merge was stopped is seen here, piece by piece.
  const progress = (bytes: number): void => {
    job.signal.throwIfAborted();
    job.onBytes(bytes);
  };
  const write = async (bytes: Uint8Array): Promise<void> => {
    progress(bytes.length);
    await writer.append(name, bytes);
  };
  if (work.kind === "merge") {
    await addMerge(job, steps, scratch, tensor, work, write, reports);
    return;
  }
  await steps.add(0, async (turn) => {
    await turn;
    job.signal.throwIfAborted();
    job.onTensor(name);
    if (work.kind === "convert") return convertTensor(work.source, tensor.dtype, write);
    const { checkpoint } = job;
    const { file, info } = checkpoint.get(work.tensor);
    if (info.blocks !== undefined && writer.takesBlocks?.(name) === true) {
      const blocks = {
        read: (_: TensorInfo, out: Uint8Array, start?: number) => checkpoint.readBlocks(name, out, start),
      };
      await copyTensor(writer, blocks, { ...info, bytes: info.blocks.bytes }, copyBuffer, progress);
      return;
    }
    const read = async (out: Uint8Array, from: number): Promise<void> => {
      progress(out.length);
      await file.read(info, out, from);
    };
    // Of what is decoded, or reordered, as it is read only the last matrix is kept: reads beside others would do one anew for each piece.
    const isAsRead = info.blocks === undefined && info.isReordered !== true;
    if (isAsRead && info.bytes >= BESIDE_BYTES && (await writer.appendBeside?.(name, info.bytes, read)) === true)
      return;
    await copyTensor(writer, file, info, copyBuffer, progress);
  });
}

async function addMerge(
  job: MergeJob,
  steps: OrderedSteps,
  scratch: BytePool,
  tensor: OutputTensor,
  work: OutputTensor["work"] & { kind: "merge" },
  write: (bytes: Uint8Array) => Promise<void>,
  reports: TensorReport[],
): Promise<void> {
  const { name, dtype } = tensor;
  const [rows, cols] = matrixSizes(tensor.shape);
  if (!isKernelDtype(dtype)) throw new TypeError(`${name}: planned as ${dtype}`);
  const deltas = uploadDeltas(job.adapters, work.deltas, storedWeight(work.source, rows, cols));
  deltas.catch(() => {}); // reported by the blocks that wait for it
  const weight: WeightToMerge = { source: work.source, rows, cols, target: dtype, rounding: job.rounding, deltas };
  const blocks = weightBlocks(weight);
  const total = { maxAbsDelta: 0, sumOfSquares: 0, changed: 0 };
  const bytesPerRow = Math.max(plannedBytes(tensor), work.source.bytes) / rows;
  for (const [index, block] of blocks.entries()) {
    await steps.add(block.rows * bytesPerRow, async (turn) => {
      const buffer = scratch.take(block.rows * (work.source.bytes / rows));
      const writeInTurn = async (bytes: Uint8Array): Promise<void> => {
        await turn;
        if (index === 0) job.onTensor(name);
        await write(bytes);
      };
      const found = await mergeBlock(job.gpu, weight, block, buffer, () => scratch.give(buffer), writeInTurn);
      total.maxAbsDelta = Math.max(total.maxAbsDelta, found.maxAbsDelta);
      total.sumOfSquares += found.sumOfSquares;
      total.changed += found.changed;
      if (index < blocks.length - 1) return;
      reports.push({ name, elements: rows * cols, ...total });
      for (const { delta } of await deltas) delta.release();
      if (reports.length % COLLECTED_TENSORS === 0) Bun.gc(true);
    });
  }
}

/** Reads and uploads what every adapter has for one weight; the caller releases each ΔW. */
export async function uploadDeltas(
  adapters: readonly LoadedAdapter[],
  planned: readonly PlannedDelta[],
  weight: StoredWeight,
): Promise<DeltaOnGpu[]> {
  const uploaded: DeltaOnGpu[] = [];
  try {
    for (const { adapter, index } of planned) {
      const loaded = adapters[adapter];
      if (loaded === undefined) throw new RangeError(`adapter ${adapter}`);
      const { plan, deltas, factor } = loaded;
      uploaded.push({ delta: await deltas.layer(index, factor, weight), roundsDelta: plan.roundsDelta });
    }
    return uploaded;
  } catch (thrown) {
    for (const { delta } of uploaded) delta.release();
    throw thrown;
  }
}
