import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import scaleColumnsText from "./scale-columns.wgsl" with { type: "text" };

/** Parameters of scale-columns.wgsl. */
const scaleColumnsParameters = uniformStruct({
  width: "u32", // vectors of 4 in a row
  flags: "u32",
  x: "vectors",
  scaleAt: "inVectors",
  biasAt: "inVectors",
  residual: "vectors",
  y: "vectors",
});

/** Flags of one dispatch. */
export const SCALE_COLUMNS_FLAGS = { hasBias: 1, hasResidual: 2 } as const;

/** Vectors of 4 columns that one workgroup handles. */
export const SCALE_COLUMNS_WIDTH = 64;

/** Columns times factors, plus bias and residual. */
export const SCALE_COLUMNS_KERNEL = kernelFamily("scale-columns", scaleColumnsText, scaleColumnsParameters, {
  constants: constants(SCALE_COLUMNS_FLAGS),
})({});
