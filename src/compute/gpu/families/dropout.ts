import type { Dropout } from "../../device/families/elementwise.ts";
import { dropoutScale } from "../../random/dropout.ts";
import type { Dispatcher } from "../context.ts";
import dropoutText from "../kernels/dropout.wgsl" with { type: "text" };
import { gpuKernels } from "../kernels/family.ts";

/** Elements of a row that one workgroup handles. */
const WIDTH = 512;

/** Zeroes elements at random, by counter. */
const KERNEL = gpuKernels("dropout", dropoutText, {
  parameters: {
    width: "u32", // vectors of 4 in a row
    threshold: "u32", // of 65536
    key: "vec2u",
    stream: "vec2u",
    scale: "f32",
    accumulate: "flag", // y is added to
    x: "vectors",
    y: "vectors",
  },
  bindings: ["x", "y"],
})();

export function dropout(on: Dispatcher, { x, mask, y, accumulate }: Dropout): void {
  const [rows, cols] = y.shape;
  const { key, stream, rate } = mask;
  const values = { width: Math.ceil(cols / 4), ...dropoutScale(rate), key, stream, accumulate, x, y };
  on.run(KERNEL, values, [Math.ceil(cols / WIDTH), rows]);
}
