import dropoutText from "./dropout.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of dropout.wgsl. */
const dropoutParameters = uniformStruct({
  width: "u32", // vectors of 4 in a row
  threshold: "u32", // of 65536
  key: "vec2u",
  stream: "vec2u",
  scale: "f32",
  accumulate: "flag", // 1: y is added to
  x: "vectors",
  y: "vectors",
});

/** Elements of a row that one workgroup handles. */
export const DROPOUT_WIDTH = 512;
/** Zeroes elements at random, by counter. */
export const DROPOUT_KERNEL = kernelFamily("dropout", dropoutText, dropoutParameters)({});
