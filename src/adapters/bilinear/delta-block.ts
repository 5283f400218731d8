import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Binding } from "../../gpu/stream.ts";
import type { KernelDtype } from "../../kernels/dtype.ts";

/** Blocks of W start at multiples of this many rows: whole tiles for 8 and 16 lanes, and aligned bindings of B̂. */
export const BLOCK_ROWS = 192;

/** Rows of a matrix. */
export interface DeltaRows {
  readonly buffer: Binding;
  readonly dtype: KernelDtype;
  /** Elements before the first row's first, a multiple of 4; 0 by default. */
  readonly at?: number;
}

/** What a block of ΔW is added to and where the result goes; see the flags of delta.wgsl. */
export interface DeltaBlock {
  /** First row of W in this block, a multiple of `BLOCK_ROWS`, and the number of rows. */
  readonly firstRow: number;
  readonly rows: number;
  /** Elements from row to row in the buffers of this block, a multiple of 4. */
  readonly pitch: number;
  /** W's rows; left out, the result is ΔW alone. */
  readonly weight?: DeltaRows;
  /** f32 rows that are added to ΔW first: the adapters before this one. */
  readonly sum?: GpuBuffer;
  readonly target: DeltaRows;
  /** Round ΔW to the target's dtype before it is added, as PEFT's merge does. */
  readonly roundDelta?: boolean;
}

/** What one block did, reduced from the kernel's statistics. */
export interface DeltaStatistics {
  readonly maxAbsDelta: number;
  readonly sumOfSquares: number;
  /** Weights that differ from the old ones after rounding. */
  readonly changed: number;
  readonly notFinite: number;
}

/** Reduces what the kernel wrote: one (max, Σx², changed, not finite) per workgroup. */
export function readStatistics(bytes: Uint8Array<ArrayBuffer>): DeltaStatistics {
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

/** Rows and columns of ΔW, for a look at some of its elements. */
export interface DeltaSample {
  readonly rows: readonly number[];
  readonly cols: readonly number[];
}
