import type { Device, DeviceBuffer, Range } from "../../compute/device/device.ts";
import type { Finish, WeightRows } from "../../compute/device/families/finish.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import type { KernelDtype } from "../../compute/device/dtype.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import { convertBytes, readDtype, readRows, type RowRange, splitRows, explainNotFinite } from "./stored-weight.ts";
import type { PlannedDelta, TensorSource } from "./plan.ts";
import { itemAt } from "../../files/item-at.ts";
import { Run } from "../../compute/tensor/run.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta, StoredWeight } from "../method/plan.ts";
import { repitched } from "../../compute/tensor/repitch.ts";

/**
 * `--rounding`: the sum is rounded once, or after each adapter, as PEFT does: with ΔW rounded first where PEFT rounds it.
 */
export type Rounding = "once" | "peft";

/** An adapter that was fitted to a base, and what its ΔW are multiplied by: `--scale`, negative for an unmerge. */
export interface AppliedAdapter {
  readonly plan: AdapterPlan;
  readonly factor: number;
}

/** The same, ready on the device. */
export interface LoadedAdapter extends AppliedAdapter {
  readonly deltas: DeltasOnGpu;
  /** In memory, for a verification; by default it is not kept. */
  readonly source?: DeltaSource | undefined;
}

/** A weight to be merged: (rows, cols) as stored. */
export interface WeightToMerge {
  readonly source: TensorSource;
  readonly rows: number;
  readonly cols: number;
  readonly target: KernelDtype;
  readonly rounding: Rounding;
  /** Every adapter's ΔW of this weight, once its parameters are on the GPU. */
  readonly deltas: Promise<readonly DeltaOnGpu[]>;
}

/** What was done to a block of rows. */
export interface MergeStatistics {
  readonly maxAbsDelta: number;
  readonly sumOfSquares: number;
  /** Weights that differ from the old ones after rounding. */
  readonly changed: number;
  readonly notFinite: number;
}

/** The row blocks of a weight. */
export function weightBlocks({ rows, cols, source }: WeightToMerge): RowRange[] {
  return splitRows(rows, padded4(cols) * Math.max(4, dtypeBytes(source.dtype)));
}

/**
 * Reads one block of rows of W, adds every ΔW on the GPU, and hands the rounded bytes (rows without gaps) to `write`
 * once it is mapped; the bytes are gone afterwards.
 * @param scratch at least the block's stored bytes; free again when `uploaded` is called
 * @throws RandloraError `numeric` naming file and tensor when a merged weight is not finite: nothing is written then
 */
export async function mergeBlock(
  gpu: Device,
  weight: WeightToMerge,
  block: RowRange,
  scratch: Uint8Array<ArrayBuffer>,
  uploaded: () => void,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<MergeStatistics> {
  const { cols, target } = weight;
  const pitch = padded4(cols);
  const held: DeviceBuffer[] = [];
  const allocate = (label: string, bytes: number): DeviceBuffer => {
    const buffer = gpu.memory.allocate(label, bytes);
    held.push(buffer);
    return buffer;
  };
  try {
    const compiled = gpu.prepare("finish", {});
    compiled.catch(() => {}); // awaited below
    const dtype = readDtype(weight.source);
    const stored = dtypeBytes(dtype);
    const dense = await readRows(weight.source, cols, block.firstRow, block.rows, scratch);
    const input = allocate("weight", block.rows * pitch * stored);
    gpu.write(input, repitched(dense, block.rows, cols * stored, pitch * stored));
    uploaded();
    const deltas = await weight.deltas;
    await compiled;
    using run = new Run(gpu);
    const recording = { run, allocate, ...block, cols, pitch };
    const rows: WeightRows = { buffer: input, dtype };
    const { merged, whole, last } =
      weight.rounding === "peft" ? recordAsPeft(recording, deltas, rows) : recordOnce(recording, deltas, rows, target);
    await run.submit();
    // PEFT rounds in the dtype of the weights that it has loaded; another one for the output comes after everything.
    const size = dtypeBytes(merged.dtype);
    const ofRows = ({ buffer, dtype }: WeightRows): Range => {
      return { buffer, offset: 0, size: block.rows * pitch * dtypeBytes(dtype) };
    };
    const ofStatistics = (buffer: DeviceBuffer): Range => ({ buffer, offset: 0, size: buffer.size });
    const ranges = [ofRows(merged), ofStatistics(whole)];
    if (last !== undefined) ranges.push(ofStatistics(last), ofRows(rows));
    const found = await gpu.readWith(ranges, async ([after = NOTHING, ofWhole = NOTHING, ofLast, before = NOTHING]) => {
      const statistics = readStatistics(ofWhole);
      const { notFinite } = ofLast === undefined ? statistics : readStatistics(ofLast);
      const dense = repitched(after, block.rows, pitch * size, cols * size);
      if (notFinite === 0) {
        await write(merged.dtype === target ? dense : convertBytes(weight.source, merged.dtype, dense, target));
      }
      if (ofLast === undefined) return statistics;
      const changed = countChanged(repitched(before, block.rows, pitch * size, cols * size), dense, size);
      return { ...statistics, changed, notFinite };
    });
    if (found.notFinite > 0) throw await explainNotFinite(weight.source, target, found.notFinite);
    return found;
  } finally {
    for (const buffer of held) gpu.memory.release(buffer);
  }
}

/** Reduces what the kernel wrote: (max, Σx², changed, not finite) of each part. */
export function readStatistics(bytes: Uint8Array<ArrayBuffer>): MergeStatistics {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const total = { maxAbsDelta: 0, sumOfSquares: 0, changed: 0, notFinite: 0 };
  for (let at = 0; at < values.length; at += 4) {
    total.maxAbsDelta = Math.max(total.maxAbsDelta, itemAt(values, at));
    total.sumOfSquares += itemAt(values, at + 1);
    total.changed += itemAt(values, at + 2);
    total.notFinite += itemAt(values, at + 3);
  }
  return total;
}

/** Elements of `size` bytes that are not the same. */
function countChanged(before: Uint8Array, after: Uint8Array, size: number): number {
  let count = 0;
  for (let at = 0; at < after.length; at += size) {
    let differs = 0;
    for (let byte = at; byte < at + size; byte++) differs |= (before[byte] as number) ^ (after[byte] as number);
    if (differs !== 0) count++;
  }
  return count;
}

const NOTHING = new Uint8Array();

/** Reads and uploads what every adapter has for one weight; the caller releases each ΔW. */
export async function uploadDeltas(
  adapters: readonly LoadedAdapter[],
  planned: readonly PlannedDelta[],
  weight: StoredWeight,
): Promise<DeltaOnGpu[]> {
  const uploaded: DeltaOnGpu[] = [];
  try {
    for (const { adapter, index } of planned) {
      const { plan, deltas, factor } = itemAt(adapters, adapter);
      uploaded.push({ delta: await deltas.layer(index, factor, weight), roundsDelta: plan.roundsDelta });
    }
    return uploaded;
  } catch (thrown) {
    for (const { delta } of uploaded) delta.release();
    throw thrown;
  }
}

/** One adapter's share of a weight, on the GPU. */
export interface DeltaOnGpu {
  readonly delta: LayerDelta;
  /** See `AdapterPlan`. */
  readonly roundsDelta: boolean;
}

/** The block that is recorded. */
interface BlockRecording extends Pick<Finish, "rows" | "cols" | "pitch"> {
  readonly run: Run;
  readonly firstRow: number;
  readonly allocate: (label: string, bytes: number) => DeviceBuffer;
}

/** What was recorded. */
interface Recorded {
  readonly merged: WeightRows;
  /** Statistics of the whole ΔW. */
  readonly whole: DeviceBuffer;
  /**
   * Statistics of the last step where there were several: they tell whether the result is finite, and neither these nor
   * those of the whole how many weights have changed.
   */
  readonly last: DeviceBuffer | undefined;
}

/** W + Σ ΔW, rounded once to `target`. */
function recordOnce(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  weight: WeightRows,
  target: KernelDtype,
): Recorded {
  const merged = rows(block, "merged", target);
  const delta = formed(block, deltas, weight, weight);
  return { merged, whole: finish(block, { weight, delta, target: merged }), last: undefined };
}

/** W + ΔW + ΔW + …, rounded to the dtype of W after each, and each ΔW before where PEFT does so. */
function recordAsPeft(block: BlockRecording, deltas: readonly DeltaOnGpu[], weight: WeightRows): Recorded {
  let merged = weight;
  let last = weight.buffer;
  for (const one of deltas) {
    const target = rows(block, "merged", weight.dtype);
    const delta = formed(block, [one], weight, merged, weight.dtype);
    last = finish(block, { weight: merged, delta, target, roundDelta: one.roundsDelta });
    merged = target;
  }
  if (deltas.length === 1) return { merged, whole: last, last: undefined };
  // Computed again for what is said of the whole: no step has seen it.
  const delta = formed(block, deltas, weight, weight);
  return { merged, whole: finish(block, { delta, target: rows(block, "sum", "F32") }), last };
}

/** Σ ΔW in f32, of a weight and for what the sum will be added to. */
function formed(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  weight: WeightRows,
  onto: WeightRows,
  rounding?: KernelDtype,
): DeviceBuffer {
  const { run, firstRow, rows: count, cols, pitch } = block;
  const { buffer: target } = rows(block, "ΔW", "F32");
  const rounded = rounding === undefined ? {} : { rounding };
  const known = { cols, pitch, weight, onto, ...rounded, scratch: () => rows(block, "ΔW of one", "F32").buffer };
  for (const [index, { delta }] of deltas.entries()) {
    delta.form(run, { firstRow, rows: count, target, accumulate: index > 0, ...known });
  }
  return target;
}

/** Returns the statistics. */
function finish(block: BlockRecording, part: Omit<Finish, "rows" | "cols" | "pitch" | "statistics">): DeviceBuffer {
  const { run, allocate, rows: count, cols, pitch } = block;
  const { statistics: bytes } = run.device.scratchBytes("finish", { rows: count, cols });
  const statistics = allocate("statistics", bytes);
  run.compute("finish", { rows: count, cols, pitch, ...part, statistics });
  return statistics;
}

function rows(block: BlockRecording, label: string, dtype: KernelDtype): WeightRows {
  return { buffer: block.allocate(label, block.rows * block.pitch * dtypeBytes(dtype)), dtype };
}
