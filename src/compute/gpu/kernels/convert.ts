import type { MatrixFormat } from "../../device/dtype.ts";
import type { Unpacked } from "../../device/families/bilinear.ts";
import convertText from "./convert.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of convert.wgsl. */
const convertParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  width: "u32", // vectors of 4 in a row of y
  first: "u32", // elements of drawn rows before the first one
  x: "place", // as matrix.wgsl counts
  y: "vectors",
  rowsY: "u32", // rows of workgroups along y; the rest goes along z
  scalesAt: "u32",
  key: "vec2u", // these for what is drawn: draw.wgsl
  stream: "u32",
  threshold: "u32",
  dense: "flag",
});

const family = kernelFamily("convert", convertText, convertParameters);

/** Codes, or nothing that is stored? */
function isBasis(format: MatrixFormat): boolean {
  return format === "PHILOX" || format === "TERNARY";
}

/** Vectors of 4 that a thread converts: a block of drawn numbers, a word of codes, or one. */
function vectorsOf(from: MatrixFormat): number {
  return isBasis(from) ? 4 : 1;
}

/** Vectors of 4 elements that one workgroup converts. */
export function convertWidth(from: MatrixFormat): number {
  return 64 * vectorsOf(from);
}

/** A matrix as numbers of another format. */
export function convertKernel(from: MatrixFormat, to: "f32" | Unpacked) {
  const [DENSE, TARGET] = to === "units" ? ["philox_units", "bf16"] : ["philox_dense", to];
  return family({ DTYPE: from, TARGET, VECTORS: vectorsOf(from), BASIS: isBasis(from) ? 1 : 0, DENSE });
}
