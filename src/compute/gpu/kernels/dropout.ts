import dropoutText from "./dropout.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Elements of a row that one workgroup handles. */
export const DROPOUT_WIDTH = 512;
/** Zeroes elements at random, by counter. */
export const DROPOUT_KERNEL = kernelFamily("dropout", dropoutText)({});

/** Parameters: see dropout.wgsl. */
export const dropoutParameters = uniformStruct({
  width: "u32",
  threshold: "u32",
  key: "vec2u",
  stream: "vec2u",
  scale: "f32",
  accumulate: "flag",
  x: "place",
  y: "place",
});
