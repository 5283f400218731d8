import { kernelFamily } from "./family.ts";
import backwardText from "./rope-backward.wgsl" with { type: "text" };
import ropeText from "./rope.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Rotary position embedding of q and k, and a copy of v. */
export const ROPE_KERNEL = kernelFamily("rope", ropeText)({});

/** Their gradients, by the same parameters. */
export const ROPE_BACKWARD_KERNEL = kernelFamily("rope-backward", backwardText)({});

/** Parameters: see rope-operands.wgsl. */
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
