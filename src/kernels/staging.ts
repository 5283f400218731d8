import type { Gpu } from "../gpu/gpu.ts";
import type { Staging } from "./delta.ts";

export type { Staging } from "./delta.ts";

/** The staging that suits a GPU: shuffles on software GPUs, whose loads are dear, workgroup memory on real ones. */
export function defaultStaging(gpu: Gpu): Staging {
  const { software, subgroupMinSize: lanes } = gpu.info;
  // From 32 lanes on a tile would not fit into workgroup memory.
  const fits = lanes === gpu.info.subgroupMaxSize && lanes >= 4 && lanes <= 16;
  return software && fits && gpu.features.has("subgroups") ? { kind: "subgroup", lanes } : { kind: "workgroup" };
}
