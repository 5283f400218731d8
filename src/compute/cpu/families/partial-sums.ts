import type { DeviceBuffer } from "../../device/buffer.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { bound } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

/** target[i, j] += scale · Σ_s partial[s, i, j], in a fixed order; strides in elements. */
export const PARTIAL_SUMS = cpuKernel("partialSums", {
  rows: "u32",
  cols: "u32",
  parts: "u32",
  partStride: "u32",
  rowStride: "u32",
  colStride: "u32",
  partial: "pointer",
  target: "target",
  scale: "f32",
  pieceRows: "u32",
});

/** How partial sums lie: their number, and elements from part to part, row to row, column to column. */
interface PartsLayout {
  readonly parts: number;
  readonly partStride: number;
  readonly rowStride: number;
  readonly colStride: number;
}

/** target += scale · Σ parts. */
export function addParts(
  on: Dispatcher,
  parts: DeviceBuffer,
  target: Tensor,
  layout: PartsLayout,
  scale: number,
): void {
  const [rows, cols] = target.shape;
  const { pieceRows, count } = rowPieces(rows, cols * layout.parts);
  on.dispatch(PARTIAL_SUMS, { rows, cols, ...layout, partial: bound(parts), target, scale, pieceRows }, count);
}
