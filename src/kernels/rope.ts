import { kernelFamily } from "./family.ts";
import backwardText from "./rope-backward.wgsl" with { type: "text" };
import ropeText from "./rope.wgsl" with { type: "text" };

/** Rotary position embedding of q and k, and a copy of v. Parameters: see rope-operands.wgsl. */
export const ROPE_KERNEL = kernelFamily("rope", ropeText)({});

/** Their gradients. Parameters: the same. */
export const ROPE_BACKWARD_KERNEL = kernelFamily("rope-backward", backwardText)({});
