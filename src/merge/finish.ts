import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import type { Kernel } from "../gpu/pipelines.ts";
import type { Stream } from "../gpu/stream.ts";
import { DTYPE_CODES, type KernelDtype } from "../kernels/dtype.ts";
import { FINISH_FLAGS, finishKernel, finishParameters, finishPart } from "../kernels/finish.ts";
import { defaultStaging, type Staging } from "../kernels/staging.ts";

/** Rows of a weight on the GPU. */
export interface Rows {
  readonly buffer: GpuBuffer;
  readonly dtype: KernelDtype;
}

/** How ΔW becomes rows of a merged weight, whatever the method. */
export interface Finish {
  readonly rows: number;
  readonly cols: number;
  /** Elements from row to row in all buffers, a multiple of 4. */
  readonly pitch: number;
  /** W; left out, the result is ΔW alone. */
  readonly weight?: Rows;
  /** ΔW, f32. */
  readonly delta: GpuBuffer;
  readonly target: Rows;
  /** Round ΔW to the target's dtype before it is added, as PEFT's merge of some methods does. */
  readonly roundDelta?: boolean;
}

/** What was done to a block of rows. */
export interface MergeStatistics {
  readonly maxAbsDelta: number;
  readonly sumOfSquares: number;
  /** Weights that differ from the old ones after rounding. */
  readonly changed: number;
  readonly notFinite: number;
}

/** Workgroups along x at most: every GPU has so many. */
const MOST_PER_ROW = 32_768;

/** Compiles the kernel that {@link recordFinish} dispatches. @throws RandloraError `gpu` */
export function compileFinish(gpu: Gpu, staging: Staging = defaultStaging(gpu)): Promise<Kernel> {
  return gpu.pipelines.get(finishKernel(staging));
}

/** Bytes of statistics of a block of so many rows. */
export function statisticsBytes(gpu: Gpu, finish: Finish, staging: Staging = defaultStaging(gpu)): number {
  return 16 * workgroups(finish, staging);
}

/**
 * Records target = W + ΔW, rounded once.
 * @param statistics of {@link statisticsBytes}; read it back and give it to {@link readStatistics}
 */
export function recordFinish(
  stream: Stream,
  gpu: Gpu,
  kernel: Kernel,
  finish: Finish,
  statistics: GpuBuffer,
  staging: Staging = defaultStaging(gpu),
): void {
  const { rows, cols, pitch, weight, delta, target, roundDelta } = finish;
  const width = Math.ceil(cols / 4);
  const count = workgroups(finish, staging);
  const perRow = Math.min(count, MOST_PER_ROW);
  const flags =
    (weight === undefined ? 0 : FINISH_FLAGS.hasWeight) | (roundDelta === true ? FINISH_FLAGS.roundDelta : 0);
  stream.dispatch(
    kernel,
    finishParameters({
      cols,
      width,
      vectors: rows * width,
      pitch,
      flags,
      sourceDtype: DTYPE_CODES[weight?.dtype ?? "F32"],
      targetDtype: DTYPE_CODES[target.dtype],
      perRow,
    }),
    // ΔW stands in for a W that is not read.
    [weight?.buffer ?? delta, delta, target.buffer, statistics],
    [perRow, Math.ceil(count / perRow)],
  );
}

function workgroups({ rows, cols }: Finish, staging: Staging): number {
  return Math.ceil((rows * Math.ceil(cols / 4)) / finishPart(staging));
}

/** Reduces what the kernel wrote: one (max, Σx², changed, not finite) per workgroup. */
export function readStatistics(bytes: Uint8Array<ArrayBuffer>): MergeStatistics {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const total = { maxAbsDelta: 0, sumOfSquares: 0, changed: 0, notFinite: 0 };
  for (let at = 0; at < values.length; at += 4) {
    total.maxAbsDelta = Math.max(total.maxAbsDelta, values[at] ?? 0);
    total.sumOfSquares += values[at + 1] ?? 0;
    total.changed += values[at + 2] ?? 0;
    total.notFinite += values[at + 3] ?? 0;
  }
  return total;
}
