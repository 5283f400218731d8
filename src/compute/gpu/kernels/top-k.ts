import { kernelFamily } from "./family.ts";
import topKText from "./top-k.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of top-k.wgsl. */
const topKParameters = uniformStruct({
  k: "u32",
  count: "u32", // candidates in a row
  chunk: "u32", // candidates that one workgroup looks at
  fromIds: "flag", // 1: the candidates' ids are in `ids`; 0: they are 0, 1, 2, …
  values: "elements",
  ids: "elements",
  outValues: "elements",
  outIds: "elements",
});

const family = kernelFamily("top-k", topKText, topKParameters);

/** The k largest of chunks of a row. */
export const TOP_K_KERNEL = family({ THREADS: 128 });
