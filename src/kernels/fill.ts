import { kernelFamily } from "./family.ts";
import fillText from "./fill.wgsl" with { type: "text" };

const family = kernelFamily("fill", fillText);

/** Sets rows to one value. Parameters: see fill.wgsl. */
export const FILL_KERNEL = family({});
