import { kernelFamily } from "./family.ts";
import rowsText from "./rows.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of rows.wgsl. */
const rowsParameters = uniformStruct({
  width: "u32", // vectors of 4 in a row
  scatter: "flag", // 0: gather
  indexAt: "u32",
  x: "vectors",
  y: "vectors",
});

const family = kernelFamily("rows", rowsText, rowsParameters);

/** Gathers or scatters rows by index. */
export const ROWS_KERNEL = family({});
