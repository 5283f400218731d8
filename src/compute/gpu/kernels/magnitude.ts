import { MAGNITUDE } from "../../device/families/magnitude.ts";
import { constants, kernelFamily } from "./family.ts";
import magnitudeText from "./magnitude.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";
import rescaleText from "./rescale.wgsl" with { type: "text" };
import type { StoredDtype } from "../../device/dtype.ts";

/** Parameters of magnitude.wgsl. */
const magnitudeParameters = uniformStruct({
  kind: "u32",
  count: "u32",
  sumsAt: "u32",
  fromAt: "u32",
  toAt: "u32",
  dtype: "u32", // of W, for NORM
});

/** Parameters of rescale.wgsl. */
const rescaleParameters = uniformStruct({
  width: "u32", // vectors of 4 in a row
  rows: "u32",
  flags: "u32",
  w: "vectors",
  pitch: "inVectors", // of target and Δ
  factorsAt: "u32", // of the block's first row; 0 for columns
  rowsY: "u32", // rows of workgroups along y; the rest goes along z
  scalesAt: "u32",
});

/** Numbers that one workgroup handles. */
export const MAGNITUDE_WIDTH = 64;

/** Norms, factors and gradients of magnitudes. */
export const MAGNITUDE_KERNEL = kernelFamily("magnitude", magnitudeText, magnitudeParameters, {
  constants: constants(MAGNITUDE),
})({});

/** Flags of one dispatch. */
export const RESCALE_FLAGS = { columns: 1, hasDelta: 2 } as const;

const rescale = kernelFamily("rescale", rescaleText, rescaleParameters, { constants: constants(RESCALE_FLAGS) });

/** Vectors of 4 that one workgroup of {@link rescaleKernel} handles. */
export const RESCALE_WIDTH = 64;

/** What rows of W + ΔW, multiplied by factors, differ from W by. */
export function rescaleKernel(dtype: StoredDtype) {
  return rescale({ DTYPE: dtype });
}
