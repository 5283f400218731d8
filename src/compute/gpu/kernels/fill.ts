import { kernelFamily } from "./family.ts";
import fillText from "./fill.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("fill", fillText);

/** Sets rows to one value. */
export const FILL_KERNEL = family({});

/** Parameters: see fill.wgsl. */
export const fillParameters = uniformStruct({
  rows: "u32",
  width: "u32",
  y: "place",
  value: "f32",
  rowsY: "u32",
});
