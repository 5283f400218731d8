import type { SampledWeight } from "../plan.ts";

/** The weight that ΔW is asked for where a method does not look at it. */
export const UNREAD: SampledWeight = {
  rows: 0,
  cols: 0,
  dtype: "F32",
  read: () => Promise.reject(new Error("this method does not depend on the weight")),
  onto: new Float64Array(),
};
