import { kernelFamily } from "./family.ts";
import fillText from "./fill.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of fill.wgsl. */
const fillParameters = uniformStruct({
  rows: "u32",
  width: "u32", // vectors of 4 in a row
  y: "vectors",
  value: "f32",
  rowsY: "u32", // workgroups along y
});

const family = kernelFamily("fill", fillText, fillParameters);

/** Sets rows to one value. */
export const FILL_KERNEL = family({});
