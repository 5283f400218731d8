import type { Finish } from "../../device/families/finish.ts";
import { DTYPE_CODES } from "../../device/dtype.ts";
import { FINISH_FLAGS, FINISH_KERNEL, FINISH_PART } from "../kernels/finish.ts";
import type { Dispatcher } from "../context.ts";

/** Workgroups along x at most: every GPU has so many. */
const MOST_PER_ROW = 32_768;

export function finish(on: Dispatcher, operands: Finish): void {
  const { rows, cols, pitch, weight, delta, target, roundDelta, statistics } = operands;
  const width = Math.ceil(cols / 4);
  const count = finishWorkgroups(operands);
  const perRow = Math.min(count, MOST_PER_ROW);
  const flags =
    (weight === undefined ? 0 : FINISH_FLAGS.hasWeight) | (roundDelta === true ? FINISH_FLAGS.roundDelta : 0);
  on.dispatch(
    FINISH_KERNEL,
    {
      cols,
      width,
      vectors: rows * width,
      pitch,
      flags,
      sourceDtype: DTYPE_CODES[weight?.dtype ?? "F32"],
      targetDtype: DTYPE_CODES[target.dtype],
      perRow,
    },
    // ΔW stands in for a W that is not read.
    [weight?.buffer ?? delta, delta, target.buffer, statistics],
    [perRow, Math.ceil(count / perRow)],
  );
}

/** Each writes one group of statistics. */
export function finishWorkgroups({ rows, cols }: Pick<Finish, "rows" | "cols">): number {
  return Math.ceil((rows * Math.ceil(cols / 4)) / FINISH_PART);
}
