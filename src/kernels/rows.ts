import { kernelFamily } from "./family.ts";
import rowsText from "./rows.wgsl" with { type: "text" };

const family = kernelFamily("rows", rowsText);

/** Gathers or scatters rows by index. Parameters: see rows.wgsl. */
export const ROWS_KERNEL = family({});
