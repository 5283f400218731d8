import type { Gpu } from "../gpu/gpu.ts";
import type { Staging } from "./delta.ts";

export type { Staging } from "./delta.ts";

/** The staging that suits a GPU: shuffles on software GPUs, whose loads are dear, workgroup memory on real ones. */
export function defaultStaging(gpu: Gpu): Staging {
  const { software, subgroupMinSize: lanes } = gpu.info;
  const fixed = lanes === gpu.info.subgroupMaxSize && lanes >= 4 && lanes <= 64;
  return software && fixed && gpu.features.has("subgroups") ? { kind: "subgroup", lanes } : { kind: "workgroup" };
}
