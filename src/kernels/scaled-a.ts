import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily } from "./family.ts";
import type { Pairing } from "./pairing.ts";
import scaledAText from "./scaled-a.wgsl" with { type: "text" };

const family = kernelFamily("scaled-a", scaledAText);

/** Vectors of 4 elements that one workgroup handles. */
export const SCALED_A_WIDTH = 64;

/** Ŝ = λ·A·γ. Parameters: see scaled-a.wgsl. */
export function scaledAKernel(pairing: Pairing): KernelSource {
  return family({ PAIRING: pairing });
}
