import type { KernelSource } from "../pipelines.ts";
import { kernelFamily } from "./family.ts";
import headsText from "./rope-heads.wgsl" with { type: "text" };
import ropeText from "./rope.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("rope", ropeText);

/** Rotary position embedding of q and k, and a copy of v. */
export const ROPE_KERNEL = family({ GRADIENT: 0 });

/** Their gradients, by the same parameters. */
export const ROPE_BACKWARD_KERNEL = family({ GRADIENT: 1 });

const heads = kernelFamily("rope-heads", headsText);

/**
 * Heads of q where they lie, of k and v into a cache.
 * @param norms are heads of q and k normalized first?
 * @param halves is the cache F16?
 */
export function ropeHeadsKernel(norms: boolean, halves: boolean): KernelSource {
  return heads({ NORMS: Number(norms), HALVES: Number(halves), THREADS: 32 });
}

/** Parameters: see rope-heads.wgsl. */
export const ropeHeadsParameters = uniformStruct({
  head: "u32",
  half: "u32",
  qHeads: "u32",
  kvHeads: "u32",
  angle: "place",
  q: "place",
  k: "place",
  v: "place",
  kTo: "place",
  vTo: "place",
  qWeightAt: "u32",
  kWeightAt: "u32",
  offset: "f32",
  epsilon: "f32",
  byIndex: "flag",
  rowsAt: "u32",
});

/** Parameters: see rope.wgsl. */
export const ropeParameters = uniformStruct({
  head: "u32",
  half: "u32",
  qWidth: "u32",
  kWidth: "u32",
  vWidth: "u32",
  angle: "place",
  q: "place",
  k: "place",
  v: "place",
  qTo: "place",
  kTo: "place",
  vTo: "place",
});
