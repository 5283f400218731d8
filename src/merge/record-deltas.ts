import type { LayerDelta } from "../adapters/plan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import type { Kernel } from "../gpu/pipelines.ts";
import type { Stream } from "../gpu/stream.ts";
import type { KernelDtype } from "../kernels/dtype.ts";
import { dtypeBytes } from "../safetensors/dtype.ts";
import { type Finish, recordFinish, type Rows, statisticsBytes } from "./finish.ts";

/** One adapter's share of a weight, on the GPU. */
export interface DeltaOnGpu {
  readonly delta: LayerDelta;
  /** See `AdapterPlan`. */
  readonly roundsDelta: boolean;
}

/** The block that is recorded. */
export interface BlockRecording extends Pick<Finish, "rows" | "cols" | "pitch"> {
  readonly gpu: Gpu;
  readonly stream: Stream;
  /** Of `compileFinish`. */
  readonly finish: Kernel;
  readonly firstRow: number;
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
  const delta = formed(block, deltas, weight, weight);
  return { merged, whole: finish(block, { weight, delta, target: merged }), last: undefined };
}

/** W + ΔW + ΔW + …, rounded to the dtype of W after each, and each ΔW before where PEFT does so. */
export function recordAsPeft(block: BlockRecording, deltas: readonly DeltaOnGpu[], weight: Rows): Recorded {
  let merged = weight;
  let last = weight.buffer;
  for (const one of deltas) {
    const target = rows(block, "merged", weight.dtype);
    const delta = formed(block, [one], weight, merged);
    last = finish(block, { weight: merged, delta, target, roundDelta: one.roundsDelta });
    merged = target;
  }
  if (deltas.length === 1) return { merged, whole: last, last: undefined };
  // Computed again for what is said of the whole: no step has seen it.
  const delta = formed(block, deltas, weight, weight);
  return { merged, whole: finish(block, { delta, target: rows(block, "sum", "F32") }), last };
}

/** Σ ΔW in f32, of a weight and for what the sum will be added to. */
function formed(block: BlockRecording, deltas: readonly DeltaOnGpu[], weight: Rows, onto: Rows): GpuBuffer {
  const { stream, firstRow, rows: count, cols, pitch } = block;
  const { buffer: target } = rows(block, "ΔW", "F32");
  const known = { cols, pitch, weight, onto, scratch: () => rows(block, "ΔW of one", "F32").buffer };
  for (const [index, { delta }] of deltas.entries()) {
    delta.form(stream, { firstRow, rows: count, target, accumulate: index > 0, ...known });
  }
  return target;
}

/** Returns the statistics. */
function finish(block: BlockRecording, part: Omit<Finish, "rows" | "cols" | "pitch">): GpuBuffer {
  const { gpu, stream, finish: kernel, allocate, rows: count, cols, pitch } = block;
  const whole = { rows: count, cols, pitch, ...part };
  const statistics = allocate("statistics", statisticsBytes(gpu, whole));
  recordFinish(stream, gpu, kernel, whole, statistics);
  return statistics;
}

function rows(block: BlockRecording, label: string, dtype: KernelDtype): Rows {
  return { buffer: block.allocate(label, block.rows * block.pitch * dtypeBytes(dtype)), dtype };
}
