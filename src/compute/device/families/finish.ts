import type { DeviceBuffer } from "../buffer.ts";
import type { KernelDtype } from "../dtype.ts";

/** Rows of a weight. */
export interface WeightRows {
  readonly buffer: DeviceBuffer;
  readonly dtype: KernelDtype;
}

/** target = W + ΔW, rounded once: how ΔW becomes rows of a merged weight, whatever the method. */
export interface Finish {
  readonly rows: number;
  readonly cols: number;
  /** Elements from row to row in all buffers, a multiple of 4. */
  readonly pitch: number;
  /** W; left out, the result is ΔW alone. */
  readonly weight?: WeightRows;
  /** ΔW, f32. */
  readonly delta: DeviceBuffer;
  readonly target: WeightRows;
  /** Round ΔW to the target's dtype before it is added, as PEFT's merge of some methods does. */
  readonly roundDelta?: boolean;
  /** Some groups of four f32 (max |ΔW|, Σ ΔW², changed, not finite), as many as `Device.scratchBytes` says. */
  readonly statistics: DeviceBuffer;
}
