import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import topKText from "./top-k.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("top-k", topKText);

/** The k largest of chunks of a row. */
export const TOP_K_KERNEL: KernelSource = family({ THREADS: 128 });

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
