import { isBlockDtype } from "../../device/dtype.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { widen } from "./bilinear.ts";

/** Records `use` with a matrix whose elements are numbers: one in blocks is widened to f32 first. */
export function inNumbers(on: Dispatcher, matrix: Tensor, use: (matrix: Tensor) => void): void {
  if (!isBlockDtype(matrix.dtype)) return use(matrix);
  const numbers = takeScratch(on, "widened", matrix.shape);
  widen(on, { x: matrix, y: numbers });
  use(numbers);
  giveScratch(on, numbers);
}
