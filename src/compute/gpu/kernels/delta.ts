import { BASIS_FORMATS, type DeltaVariant } from "../../device/families/delta.ts";
import storeText from "./delta-store.wgsl" with { type: "text" };
import deltaText from "./delta.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { productDefinitions } from "./product.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of delta.wgsl. */
const deltaParameters = uniformStruct({
  rows: "u32", // of this dispatch
  cols: "u32",
  terms: "u32", // n·r
  fastCount: "u32", // n (peft) or r (paper)
  firstRow: "u32", // of this dispatch, in a transposed target
  firstCol: "u32", // in A, γ and a plain target
  b: "place", // as matrix.wgsl counts
  a: "place",
  gammaPitch: "inVectors",
  targetPitch: "u32",
  transposed: "flag", // B̂'s rows run along the target's columns
  accumulate: "flag", // the target is added to, not assigned
  scale: "f32",
  targetAt: "u32", // elements before the first, a multiple of 4
  key: "vec2u", // these for what is drawn: draw.wgsl
  threshold: "u32",
  dense: "flag",
  dropped: "u32",
});

const family = kernelFamily("delta", deltaText, deltaParameters, { store: storeText });

/**
 * The ΔW kernel for one variant. Sizes, dtypes and flags are uniforms, so that one compile serves every layer.
 * Bindings and parameters: see delta.wgsl and `deltaParameters`.
 */
export function deltaKernel({ a, b, pairing }: DeltaVariant) {
  return family({
    STORAGE_A: BASIS_FORMATS[a],
    STORAGE_B: BASIS_FORMATS[b],
    PAIRING: pairing,
    ...productDefinitions("rows", "terms"),
  });
}
