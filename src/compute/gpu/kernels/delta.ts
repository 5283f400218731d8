import { BASIS_FORMATS, type DeltaVariant } from "../../device/families/delta.ts";
import type { KernelSource } from "../pipelines.ts";
import storeText from "./delta-store.wgsl" with { type: "text" };
import deltaText from "./delta.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { productDefinitions } from "./product.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("delta", deltaText, { store: storeText });

/**
 * The ΔW kernel for one variant. Sizes, dtypes and flags are uniforms, so that one compile serves every layer.
 * Bindings and parameters: see delta.wgsl and `deltaParameters`.
 */
export function deltaKernel({ a, b, pairing }: DeltaVariant): KernelSource {
  return family({
    STORAGE_A: BASIS_FORMATS[a],
    STORAGE_B: BASIS_FORMATS[b],
    PAIRING: pairing,
    ...productDefinitions("rows", "terms"),
  });
}

/** Parameters: see delta.wgsl. */
export const deltaParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  terms: "u32",
  fastCount: "u32",
  firstRow: "u32",
  firstCol: "u32",
  b: "place",
  a: "place",
  gammaPitch: "u32",
  targetPitch: "u32",
  transposed: "flag",
  accumulate: "flag",
  scale: "f32",
  targetAt: "u32",
  key: "vec2u",
  threshold: "u32",
  dense: "flag",
  dropped: "u32",
});
