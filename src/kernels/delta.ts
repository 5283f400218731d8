import type { DeltaVariant } from "../device/families/delta.ts";
import type { KernelSource } from "../gpu/pipelines.ts";
import basisText from "./basis.wgsl" with { type: "text" };
import operandsText from "./delta-operands.wgsl" with { type: "text" };
import storeText from "./delta-store.wgsl" with { type: "text" };
import deltaText from "./delta.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { productDefinitions, productTile } from "./product.ts";
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("delta", deltaText, { basis: basisText, operands: operandsText, store: storeText });

/**
 * The ΔW kernel for one variant. Sizes, dtypes and flags are uniforms, so that one compile serves every layer.
 * Bindings and parameters: see delta.wgsl and `deltaParameters`.
 */
export function deltaKernel({ a, b, pairing, staging }: DeltaVariant & { readonly staging: GpuStaging }): KernelSource {
  const isSubgroup = staging.kind === "subgroup";
  return family({
    STORAGE_A: a,
    STORAGE_B: b,
    PAIRING: pairing,
    ...productDefinitions(staging, "rows", "terms"),
    CHUNK_ROWS: isSubgroup ? productTile(staging).rows : 16,
    THREADS: isSubgroup ? staging.lanes : 256,
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
  bStride: "u32",
  aStride: "u32",
  gammaStride: "u32",
  targetPitch: "u32",
  transposed: "flag",
  accumulate: "flag",
  scale: "f32",
  threshold: "u32",
  key: "vec2u",
  dense: "flag",
  aDrawn: "u32",
  bDrawn: "u32",
  targetAt: "u32",
  dropped: "u32",
});
