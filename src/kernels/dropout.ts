import dropoutText from "./dropout.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";

/** Elements of a row that one workgroup handles. */
export const DROPOUT_WIDTH = 512;
/** Zeroes elements at random, by counter. Parameters: see dropout.wgsl. */
export const DROPOUT_KERNEL = kernelFamily("dropout", dropoutText)({});
