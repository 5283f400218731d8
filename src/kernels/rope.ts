import { kernelFamily } from "./family.ts";
import ropeText from "./rope.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("rope", ropeText);

/** Rotary position embedding of q and k, and a copy of v. */
export const ROPE_KERNEL = family({ GRADIENT: 0 });

/** Their gradients, by the same parameters. */
export const ROPE_BACKWARD_KERNEL = family({ GRADIENT: 1 });

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
