import adamwText from "./adamw.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";

/** Threads of a workgroup, each of which updates 4 numbers. */
export const ADAMW_THREADS = 64;

/** One AdamW step on flat arrays, updated in place. Parameters: see adamw.wgsl. */
export const ADAMW_KERNEL = kernelFamily("adamw", adamwText)({ THREADS: ADAMW_THREADS });
