import { kernelFamily } from "./family.ts";
import ropeText from "./rope.wgsl" with { type: "text" };

/** Rotary position embedding of q and k, and a copy of v. Parameters: see rope.wgsl. */
export const ROPE_KERNEL = kernelFamily("rope", ropeText)({});
