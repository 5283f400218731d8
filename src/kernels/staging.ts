import type { Gpu } from "../gpu/gpu.ts";

/** How operands reach the multiplier: shuffled inside one subgroup, or through workgroup memory. */
export type Staging = { readonly kind: "subgroup"; readonly lanes: number } | { readonly kind: "workgroup" };

/** The staging that suits a GPU: shuffles on software GPUs, whose loads are dear, workgroup memory on real ones. */
export function defaultStaging(gpu: Gpu): Staging {
  const { software, subgroupMinSize: lanes } = gpu.info;
  // From 32 lanes on a tile would not fit into workgroup memory.
  const fits = lanes === gpu.info.subgroupMaxSize && lanes >= 4 && lanes <= 16;
  return software && fits && gpu.features.has("subgroups") ? { kind: "subgroup", lanes } : { kind: "workgroup" };
}
