import { constants, kernelFamily } from "./family.ts";
import finishText from "./finish.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of finish.wgsl. */
const finishParameters = uniformStruct({
  cols: "u32",
  width: "u32", // vectors of 4 in a row
  vectors: "u32", // in all rows
  pitch: "u32", // elements from row to row
  flags: "u32",
  sourceDtype: "u32", // of W
  targetDtype: "u32",
  perRow: "u32", // workgroups along x
});

/**
 * Flags of one dispatch: W is read, without which the result is ΔW alone; ΔW is rounded to the target's dtype before it is added, as
 * PEFT's merge of some methods does.
 */
export const FINISH_FLAGS = { hasWeight: 1, roundDelta: 2 } as const;

/** Vectors of 4 that one thread finishes: sums of 256 squares. */
const VECTORS = 64;
const THREADS = 64;

const family = kernelFamily("finish", finishText, finishParameters, { constants: constants(FINISH_FLAGS) });

/** W + ΔW, rounded once, with statistics. */
export const FINISH_KERNEL = family({ VECTORS, THREADS });

/** Vectors of 4 that one workgroup of {@link FINISH_KERNEL} handles. */
export const FINISH_PART = VECTORS * THREADS;
