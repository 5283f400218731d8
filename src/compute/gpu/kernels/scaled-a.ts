import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import type { Pairing } from "../../device/pairing.ts";
import scaledAText from "./scaled-a.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("scaled-a", scaledAText);

/** Vectors of 4 elements that one workgroup handles. */
export const SCALED_A_WIDTH = 64;

/** Ŝ = λ·A·γ. */
export function scaledAKernel(pairing: Pairing): KernelSource {
  return family({ PAIRING: pairing });
}

/** Parameters: see scaled-a.wgsl. */
export const scaledAParameters = uniformStruct({
  rows: "u32",
  width: "u32",
  cols: "u32",
  bases: "u32",
  rank: "u32",
  aPitch: "u32",
  gamma: "place",
  lambda: "place",
});
