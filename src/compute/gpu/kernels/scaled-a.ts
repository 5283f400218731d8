import { kernelFamily } from "./family.ts";
import type { Pairing } from "../../device/pairing.ts";
import scaledAText from "./scaled-a.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of scaled-a.wgsl. */
const scaledAParameters = uniformStruct({
  rows: "u32", // n·r
  width: "u32", // vectors of 4 in a row of Ŝ
  cols: "u32",
  bases: "u32", // n
  rank: "u32", // r
  aPitch: "inVectors",
  gamma: "vectors",
  lambda: "elements",
});

const family = kernelFamily("scaled-a", scaledAText, scaledAParameters);

/** Vectors of 4 elements that one workgroup handles. */
export const SCALED_A_WIDTH = 64;

/** Ŝ = λ·A·γ. */
export function scaledAKernel(pairing: Pairing) {
  return family({ PAIRING: pairing });
}
