import type { DeviceBuffer } from "../../compute/device/device.ts";
import type { LayerDelta } from "../method/plan.ts";
import type { KernelDtype } from "../../compute/device/dtype.ts";
import type { Finish, WeightRows } from "../../compute/device/families/finish.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";

/** One adapter's share of a weight, on the GPU. */
export interface DeltaOnGpu {
  readonly delta: LayerDelta;
  /** See `AdapterPlan`. */
  readonly roundsDelta: boolean;
}

/** The block that is recorded. */
export interface BlockRecording extends Pick<Finish, "rows" | "cols" | "pitch"> {
  readonly run: Run;
  readonly firstRow: number;
  readonly allocate: (label: string, bytes: number) => DeviceBuffer;
}

/** What was recorded. */
export interface Recorded {
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
export function recordOnce(
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
export function recordAsPeft(block: BlockRecording, deltas: readonly DeltaOnGpu[], weight: WeightRows): Recorded {
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
function formed(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  weight: WeightRows,
  onto: WeightRows,
): DeviceBuffer {
  const { run, firstRow, rows: count, cols, pitch } = block;
  const { buffer: target } = rows(block, "ΔW", "F32");
  const known = { cols, pitch, weight, onto, scratch: () => rows(block, "ΔW of one", "F32").buffer };
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
