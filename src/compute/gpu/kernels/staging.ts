import type { GpuStaging } from "../../device/staging.ts";

export type { GpuStaging } from "../../device/staging.ts";

/** What decides about the staging of a GPU. */
interface StagingTerms {
  readonly info: {
    readonly software: boolean;
    readonly subgroupMinSize: number;
    readonly subgroupMaxSize: number;
    readonly integerDots: boolean;
  };
  readonly features: ReadonlySet<string>;
}

/**
 * The staging that suits a GPU: shuffles on software GPUs, whose loads are dear, workgroup memory on real ones, with integer dot
 * products where there are any.
 */
export function defaultStaging({ info, features }: StagingTerms): GpuStaging {
  const { software, subgroupMinSize: lanes, integerDots } = info;
  // From 32 lanes on a tile would not fit into workgroup memory.
  const fits = lanes === info.subgroupMaxSize && lanes >= 4 && lanes <= 16;
  if (software && fits && features.has("subgroups")) return { kind: "subgroup", lanes };
  return integerDots ? { kind: "workgroup", integerDots } : { kind: "workgroup" };
}
