import type { DeltaBlock } from "../adapters/bilinear/delta-block.ts";
import type { LayerDelta } from "../adapters/plan.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import type { Stream } from "../gpu/stream.ts";
import type { KernelDtype } from "../kernels/dtype.ts";
import { dtypeBytes } from "../safetensors/dtype.ts";

/** One adapter's share of a weight, on the GPU. */
export interface DeltaOnGpu {
  readonly delta: LayerDelta;
  /** See `AdapterPlan`. */
  readonly roundsDelta: boolean;
}

/** Rows of a weight on the GPU. */
export interface Rows {
  readonly buffer: GpuBuffer;
  readonly dtype: KernelDtype;
}

/** The block that is recorded. */
export interface BlockRecording extends Pick<DeltaBlock, "firstRow" | "rows" | "pitch"> {
  readonly stream: Stream;
  readonly allocate: (label: string, bytes: number) => GpuBuffer;
}

/** What was recorded. */
export interface Recorded {
  readonly merged: Rows;
  /** Statistics of the whole ΔW. */
  readonly whole: GpuBuffer;
  /**
   * Statistics of the last step where there were several: they tell whether the result is finite, and neither these nor
   * those of the whole how many weights have changed.
   */
  readonly last: GpuBuffer | undefined;
}

/** W + Σ ΔW, rounded once to `target`. */
export function recordOnce(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  weight: Rows,
  target: KernelDtype,
): Recorded {
  const merged = rows(block, "merged", target);
  return { merged, whole: recordSum(block, deltas, { weight, target: merged }), last: undefined };
}

/** W + ΔW + ΔW + …, rounded to the dtype of W after each, and each ΔW before where PEFT does so. */
export function recordAsPeft(block: BlockRecording, deltas: readonly DeltaOnGpu[], weight: Rows): Recorded {
  let merged = weight;
  let last = weight.buffer;
  for (const { delta, roundsDelta } of deltas) {
    const target = rows(block, "merged", weight.dtype);
    last = record(block, delta, { weight: merged, target, roundDelta: roundsDelta });
    merged = target;
  }
  if (deltas.length === 1) return { merged, whole: last, last: undefined };
  // Computed again for what is said of the whole: no step has seen it.
  return { merged, whole: recordSum(block, deltas, { target: rows(block, "sum", "F32") }), last };
}

/** Adds the ΔWs up in f32, and the sum to what `end` says. Returns the statistics of the sum. */
function recordSum(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  end: Pick<DeltaBlock, "weight" | "target">,
): GpuBuffer {
  let before: Pick<DeltaBlock, "sum"> = {};
  for (const { delta } of deltas.slice(0, -1)) {
    const target = rows(block, "sum", "F32");
    record(block, delta, { target, ...before });
    before = { sum: target.buffer };
  }
  const final = deltas.at(-1);
  if (final === undefined) throw new RangeError("no ΔW");
  return record(block, final.delta, { ...end, ...before });
}

function record(
  { stream, allocate, firstRow, rows, pitch }: BlockRecording,
  delta: LayerDelta,
  part: Omit<DeltaBlock, "firstRow" | "rows" | "pitch">,
): GpuBuffer {
  const whole = { firstRow, rows, pitch, ...part };
  const statistics = allocate("statistics", delta.statisticsBytes(whole));
  delta.record(stream, whole, statistics);
  return statistics;
}

function rows(block: BlockRecording, label: string, dtype: KernelDtype): Rows {
  return { buffer: block.allocate(label, block.rows * block.pitch * dtypeBytes(dtype)), dtype };
}
