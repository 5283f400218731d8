import type { DeviceBuffer } from "../../compute/device/device.ts";
import type { SampledWeight, WeightBlock } from "../method/plan.ts";

/** The weight that ΔW is asked for where a method does not look at it. */
export const UNREAD: SampledWeight = {
  rows: 0,
  cols: 0,
  dtype: "F32",
  read: () => Promise.reject(new Error("this method does not depend on the weight")),
  onto: new Float64Array(),
};

/** What a block has of such a weight. */
export function unreadRows(
  anything: DeviceBuffer,
  cols: number,
): Pick<WeightBlock, "cols" | "weight" | "onto" | "scratch"> {
  const rows = { buffer: anything, dtype: "F32" as const };
  return { cols, weight: rows, onto: rows, scratch: () => anything };
}
