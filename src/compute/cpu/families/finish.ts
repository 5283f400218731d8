import { DTYPE_CODES } from "../../device/dtype.ts";
import type { Finish, WeightRows } from "../../device/families/finish.ts";
import { elementBytes } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import type { Pointer } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";

/** target = W + ΔW, rounded once, and what that did; rows of all three are `pitch` elements apart. */
export const FINISH = cpuKernel("finish", {
  cols: "u32",
  /** Vectors of 4 in a row, and in all rows. */
  width: "u32",
  vectors: "u32",
  pitch: "u32",
  sourceDtype: "u32",
  targetDtype: "u32",
  /** 0: the result is ΔW alone. */
  weight: "pointer",
  delta: "pointer",
  target: "pointer",
  /** ΔW is rounded before it is added. */
  roundDelta: "flag",
  /** Four f32 a piece: max |ΔW|, Σ ΔW², changed, not finite. */
  statistics: "pointer",
  pieceVectors: "u32",
});

/** Vectors of 4 of a piece: sums of squares are cut by it, so it follows from nothing. */
const PIECE_VECTORS = 4096;

export function finish(on: Dispatcher, operands: Finish): void {
  const { rows, cols, pitch, weight, delta, target, roundDelta = false, statistics } = operands;
  const rowsOf = ({ buffer, dtype }: WeightRows, access: Pointer["access"]): Pointer => {
    return { buffer, offset: 0, size: rows * pitch * elementBytes(dtype), access };
  };
  const width = Math.ceil(cols / 4);
  const pieces = finishPieces(operands);
  on.dispatch(
    FINISH,
    {
      cols,
      width,
      vectors: rows * width,
      pitch,
      sourceDtype: DTYPE_CODES[weight?.dtype ?? "F32"],
      targetDtype: DTYPE_CODES[target.dtype],
      weight: weight && rowsOf(weight, "read"),
      delta: rowsOf({ buffer: delta, dtype: "F32" }, "read"),
      target: rowsOf(target, "write"),
      roundDelta,
      statistics: { buffer: statistics, offset: 0, size: pieces * 16, access: "write" },
      pieceVectors: PIECE_VECTORS,
    },
    pieces,
  );
}

/** Each leaves one group of statistics. */
export function finishPieces({ rows, cols }: Pick<Finish, "rows" | "cols">): number {
  return Math.ceil((rows * Math.ceil(cols / 4)) / PIECE_VECTORS);
}
