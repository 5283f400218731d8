import { kernelFamily } from "./family.ts";
import rowsText from "./rows.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("rows", rowsText);

/** Gathers or scatters rows by index. */
export const ROWS_KERNEL = family({});

/** Parameters: see rows.wgsl. */
export const rowsParameters = uniformStruct({
  width: "u32",
  scatter: "flag",
  indexAt: "u32",
  x: "place",
  y: "place",
});
