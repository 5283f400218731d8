import type { KernelSource } from "../pipelines.ts";
import { kernelFamily, reduction } from "./family.ts";
import type { GpuStaging } from "./staging.ts";
import topKText from "./top-k.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("top-k", topKText);

/** The k largest of chunks of a row. */
export function topKKernel(staging: GpuStaging): KernelSource {
  return family(reduction(staging, 128));
}

/** Parameters: see top-k.wgsl. */
export const topKParameters = uniformStruct({
  k: "u32",
  count: "u32",
  chunk: "u32",
  fromIds: "flag",
  values: "place",
  ids: "place",
  outValues: "place",
  outIds: "place",
});
