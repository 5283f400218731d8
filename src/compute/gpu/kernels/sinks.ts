import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import sinksText from "./sinks.wgsl" with { type: "text" };

/** Parameters of sinks.wgsl. */
const sinksParameters = uniformStruct({
  heads: "u32",
  head: "inVectors",
  hasDlse: "flag",
  sinksAt: "u32",
  y: "vectors",
  lse: "elements",
  dy: "vectors",
  dlse: "elements",
  parts: "elements",
});

/** Heads that one workgroup handles. */
export const SINKS_HEADS = 64;

const family = kernelFamily("sinks", sinksText, sinksParameters);

export const SINKS_KERNELS = { attend: family({ PASS: "attend" }), gradient: family({ PASS: "gradient" }) } as const;
