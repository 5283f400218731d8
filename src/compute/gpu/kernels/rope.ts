import type { KvDtype } from "../../device/dtype.ts";
import { kernelFamily } from "./family.ts";
import headsText from "./rope-heads.wgsl" with { type: "text" };
import ropeText from "./rope.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of rope-heads.wgsl. */
const ropeHeadsParameters = uniformStruct({
  head: "u32", // elements in a head
  half: "u32", // elements in half of its rotated part
  qHeads: "u32",
  kvHeads: "u32",
  angle: "vectors", // of cos and sin, alike
  q: "vectors",
  k: "vectors",
  v: "vectors",
  kTo: "vectors",
  vTo: "vectors",
  qWeightAt: "inVectors",
  kWeightAt: "inVectors",
  offset: "f32",
  epsilon: "f32",
  neighbors: "flag", // elements turn with their neighbors
  byIndex: "flag", // rows go to those that `rows` names, else to those of their own number
  rowsAt: "u32",
});

/** Parameters of rope.wgsl. */
const ropeParameters = uniformStruct({
  head: "inVectors", // of a head
  half: "u32", // elements in half of its rotated part
  qWidth: "u32", // in a row of q, of k, of v; 0: that one is not there
  kWidth: "u32",
  vWidth: "u32",
  neighbors: "flag", // elements turn with their neighbors
  angle: "vectors", // of cos and sin, alike
  q: "vectors",
  k: "vectors",
  v: "vectors",
  qTo: "vectors",
  kTo: "vectors",
  vTo: "vectors",
});

const family = kernelFamily("rope", ropeText, ropeParameters);

/** Rotary position embedding of q and k, and a copy of v. */
export const ROPE_KERNEL = family({ JOINED: 0, BACK: 0 });

/** The same of q alone. */
export const ROPE_QUERIES_KERNEL = family({ JOINED: 1, BACK: 0 });

/** Their gradients, by the same parameters. */
export const ROPE_BACKWARD_KERNEL = family({ JOINED: 1, BACK: 1 });

const heads = kernelFamily("rope-heads", headsText, ropeHeadsParameters);

/**
 * Heads of q where they lie, of k and v into a cache.
 * @param norms are heads of q and k normalized first?
 * @param kv what the cache is held in
 */
export function ropeHeadsKernel(norms: boolean, kv: KvDtype) {
  return heads({ NORMS: Number(norms), KV: kv, THREADS: 32 });
}
