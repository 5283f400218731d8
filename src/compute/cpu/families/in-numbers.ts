import { isBlockDtype } from "../../device/dtype.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Tensor } from "../../device/tensor.ts";
import { isTernaryRows, type TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { basisValues } from "./basis.ts";
import { unpackPart, widen } from "./bilinear.ts";

/** Records `use` with a matrix whose elements are numbers: one in blocks is widened to f32 first, rows of a ternary basis to BF16. */
export function inNumbers(on: Dispatcher, matrix: Tensor | TernaryRows, use: (matrix: Tensor) => void): void {
  if (!isTernaryRows(matrix) && !isBlockDtype(matrix.dtype)) return use(matrix);
  const numbers = isTernaryRows(matrix) ? unpacked(on, matrix) : widened(on, matrix);
  use(numbers);
  giveScratch(on, numbers);
}

function widened(on: Dispatcher, matrix: Tensor): Tensor {
  const y = takeScratch(on, "widened", matrix.shape);
  widen(on, { x: matrix, y });
  return y;
}

/** Elements −1, 0 and 1. */
function unpacked(on: Dispatcher, { basis, first, shape }: TernaryRows): Tensor {
  const numbers = takeScratch(on, "true values of a basis", shape, "BF16");
  unpackPart(on, basisValues(basis), { firstRow: first, firstCol: 0, cols: shape[1] }, numbers);
  return numbers;
}
